"""`pfxlab journal`: one box for each request, with what the client was told, the real reason and a tip."""

import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.panel import Panel
from rich.text import Text


class NoLab(Exception):
    """No running lab could be asked; the text says what was tried."""


def facts_of(ready_file: Path | None) -> dict[str, str]:
    """Return address, token and CA of a lab: from its ready file, or from the environment `pfxlab exec` sets.

    Raises:
        NoLab: neither is there.

    """
    if ready_file is None and "PFXLAB_CONTROL_URL" in os.environ:
        names = {
            "control_url": "PFXLAB_CONTROL_URL",
            "control_token": "PFXLAB_CONTROL_TOKEN",
            "ca_file": "SSL_CERT_FILE",
        }
        return {name: os.environ.get(variable, "") for name, variable in names.items()}
    if ready_file is None:
        raise NoLab("expected --ready-file of a running `pfxlab up`, or the environment it prints; got neither")
    try:
        facts: dict[str, str] = json.loads(ready_file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise NoLab(f"expected the ready file of a running lab in {ready_file}, got none ({error})") from None
    return facts


def fetch(facts: dict[str, str], after: int, filters: dict[str, str]) -> list[dict[str, Any]]:
    """Return journal entries of a running lab; `filters` are those of the control API.

    Raises:
        NoLab: it does not answer, or refuses.

    """
    entries: list[dict[str, Any]] = ask(facts, "journal", {"after": str(after), **filters})["entries"]
    return entries


def ask(facts: dict[str, str], what: str, query: dict[str, str]) -> Any:
    """Return the JSON that the control API of a running lab answers a GET with.

    Raises:
        NoLab: it does not answer, or refuses.

    """
    url = f"{facts['control_url']}/{what}?{urllib.parse.urlencode(query)}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {facts['control_token']}"})  # noqa: S310 - the lab's own https address
    context = ssl.create_default_context(cafile=facts["ca_file"])
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=30) as response:
            return json.load(response)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise NoLab(f"expected a running lab at {facts['control_url']}, got no answer ({error})") from None


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
