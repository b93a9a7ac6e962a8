"""`pfxlab journal`: each request with the answer to the client, the true reason and a tip."""

from typing import Any

from pfxlab.scenarios.terminal import Box, Fact


def box(entry: dict[str, Any]) -> Box:
    """Return an entry as a box: the request or event, the answer to the client, the true reason."""
    fields = dict(entry["fields"])
    refused = entry["outcome"] != "ok"
    heading = f"{fields.pop('method')} {fields.pop('path')}" if "path" in fields else entry["event"]
    rule, tip, answer = fields.pop("rule", None), fields.pop("tip", None), fields.pop("told", None)
    facts = []
    if answer is not None:
        facts.append(Fact("answer", str(answer)))
    if entry["reason"]:
        facts.append(Fact("reason", f"{f'{rule}: ' if rule else ''}{entry['reason']}", "red" if refused else ""))
    if tip:
        facts.append(Fact("tip", tip, "green"))
    facts += [Fact("note", note, "yellow") for note in fields.pop("notes", ())]
    shown = {name: value for name, value in fields.items() if value}
    if shown:
        facts.append(Fact("", "  ".join(f"{name} {value}" for name, value in shown.items()), "dim"))
    return Box(f"{entry['time'][11:23]}  {entry['party']}", facts, "red" if refused else "dim", heading)
