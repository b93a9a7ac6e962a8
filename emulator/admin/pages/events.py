"""A journal entry for readers: party, event, object, answer to the client, true reason."""

from collections.abc import Mapping
from typing import Any, Final

from pfxlab.emulator.admin.page import PREFIX
from pfxlab.emulator.store.journal_entries import Entry

_SHOWN_ELSEWHERE: Final = ("told", "method", "path", "tip", "rule", "before", "state", "client", "request_id")
_LINKS: Final = {"device": "devices", "connector": "connectors", "certificate": "certificates"}
COLUMNS: Final = ("seq", "time", "party", "event", "outcome", "told", "reason", "what", "client")


def _what(fields: Mapping[str, Any]) -> str:
    if "method" in fields:
        return f"{fields['method']} {fields.get('path', '')}"
    if "before" in fields:
        return f"{fields['before']} → {fields['state']}"
    named = {name: value for name, value in fields.items() if name not in (*_SHOWN_ELSEWHERE, *_LINKS)}
    return ", ".join(f"{name} {_short(value)}" for name, value in named.items())


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)}" if len(value) > 2 else ", ".join(map(str, value))
    return str(value)[:80]


def row_of(entry: Entry) -> dict[str, Any]:
    """Return an entry as a table row: texts, and links to the pages of the objects it names."""
    fields = entry.fields
    links = [
        (name, str(fields[name]), f"{PREFIX}/{page}/{fields[name]}")
        for name, page in _LINKS.items()
        if fields.get(name)
    ]
    return {
        "seq": entry.seq,
        "time": entry.time,
        "party": entry.party,
        "event": entry.event,
        "outcome": entry.outcome,
        "told": fields.get("told", ""),
        "reason": entry.reason or "",
        "rule": fields.get("rule", ""),
        "tip": fields.get("tip", ""),
        "what": _what(fields),
        "client": fields.get("client", ""),
        "links": links,
        "thumbprint": fields.get("thumbprint", ""),
    }
