"""`pfxlab journal`: each request with what the client was told, the real reason and a tip."""

from typing import Any

from pfxlab.scenarios.terminal import Box, Fact


def box(entry: dict[str, Any]) -> Box:
    """Return an entry: the request or event first, then what the client was told and what is true."""
    fields = dict(entry["fields"])
    refused = entry["outcome"] != "ok"
    heading = f"{fields.pop('method')} {fields.pop('path')}" if "path" in fields else entry["event"]
    rule, tip, told = fields.pop("rule", None), fields.pop("tip", None), fields.pop("told", None)
    facts = []
    if told is not None:
        facts.append(Fact("told", str(told)))
    if entry["reason"]:
        facts.append(Fact("reason", f"{f'{rule}: ' if rule else ''}{entry['reason']}", "red" if refused else ""))
    if tip:
        facts.append(Fact("tip", tip, "green"))
    facts += [Fact("note", note, "yellow") for note in fields.pop("notes", ())]
    shown = {name: value for name, value in fields.items() if value}
    if shown:
        facts.append(Fact("", "  ".join(f"{name} {value}" for name, value in shown.items()), "dim"))
    return Box(f"{entry['time'][11:23]}  {entry['party']}", facts, "red" if refused else "dim", heading)
