"""/admin/journal: every event, with filters; for a refusal the answer to the client and the true reason."""

from collections.abc import Iterable
from typing import Any, Final

from pfxlab.emulator.admin.page import Look, Shown, Table
from pfxlab.emulator.admin.pages.events import COLUMNS, row_of

_PAGE: Final = 50
_EXPORTED: Final = 10_000
FILTERS: Final = {
    "party": "party",
    "outcome": "outcome",
    "event": "event",
    "path": "path contains",
    "client": "client contains",
    "rule": "rule",
    "thumbprint": "thumbprint",
    "device": "device id",
}
OUTCOMES: Final = ("ok", "refused", "failed")


def show(look: Look) -> Shown:
    """Return a page of the journal, newest first; `before` goes back in it."""
    journal = look.cloud.journal
    wanted: dict[str, Any] = {name: text for name in FILTERS if (text := look.query.get(name, "").strip())}
    before = look.number("before")
    entries = journal.entries(before=before or None, limit=_PAGE + 1, newest=True, **wanted)
    rows = [row_of(entry) for entry in entries[:_PAGE]]
    values: dict[str, Any] = {
        "rows": rows,
        "filters": FILTERS,
        "wanted": wanted,
        "outcomes": OUTCOMES,
        "older": rows[-1]["seq"] if len(entries) > _PAGE else 0,
        "before": before,
    }

    def exported() -> Iterable[dict[str, Any]]:
        return map(row_of, journal.entries(limit=_EXPORTED, newest=True, **wanted))

    return Shown("journal.html", values, Table(COLUMNS, exported))
