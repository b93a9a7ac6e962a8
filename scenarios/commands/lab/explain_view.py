"""`pfxlab explain`: the way of one certificate to one device, link by link, up to the first that is broken."""

from typing import Any

from rich.console import Group
from rich.panel import Panel
from rich.text import Text


def way(told: dict[str, Any]) -> Panel:
    """Return one explanation as a box: a line for each link, and below the broken one what to do."""
    lines = []
    for link in told["links"]:
        line = Text("✗ " if link["code"] else "✓ ", style="bold red" if link["code"] else "green")
        line.append(f"{link['name']:<11}", style="bold")
        line.append(f"{link['code']}: " if link["code"] else "", style="red")
        line.append(link["evidence"])
        lines.append(line)
        if link["remedy"]:
            lines.append(Text(f"  {'do':<11}{link['remedy']}", style="green"))
    subject = (told["thumbprint"] or "certificates")[:16]
    where = f" → {told['deviceName']}" if told["deviceName"] else ""
    style = "green" if told["arrived"] else "red"
    return Panel(Group(*lines), title=f"{subject} of {told['user']}{where}", title_align="left", border_style=style)
