"""`pfxlab journal`: one box for each request, with what the client was told, the real reason and a tip."""

from typing import Any

from rich.console import Group
from rich.panel import Panel
from rich.text import Text


def box(entry: dict[str, Any]) -> Panel:
    """Return an entry as a box: the request or event above, told and truth inside."""
    fields = dict(entry["fields"])
    refused = entry["outcome"] != "ok"
    head = f"{entry['time'][11:23]}  {entry['party']}"
    subject = f"{fields.pop('method')} {fields.pop('path')}" if "path" in fields else entry["event"]
    rule, tip, told = fields.pop("rule", None), fields.pop("tip", None), fields.pop("told", None)
    lines = [Text(subject, style="bold")]
    if told is not None:
        lines.append(Text(f"told    {told}"))
    if entry["reason"]:
        lines.append(Text(f"reason  {f'{rule}: ' if rule else ''}{entry['reason']}", style="red" if refused else ""))
    if tip:
        lines.append(Text(f"tip     {tip}", style="green"))
    for note in fields.pop("notes", ()):
        lines.append(Text(f"note    {note}", style="yellow"))
    shown = {name: value for name, value in fields.items() if value}
    if shown:
        lines.append(Text("  ".join(f"{name} {value}" for name, value in shown.items()), style="dim"))
    return Panel(Group(*lines), title=head, title_align="left", border_style="red" if refused else "dim")
