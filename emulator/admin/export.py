"""A page's table as JSON or CSV, for people who want to work on with it: `?format=json`, `?format=csv`. Pure."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any, Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as a JSON array."""
    return json.dumps(list(rows), indent=2)


def as_csv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as CSV with a head line; a text that a spreadsheet would compute stands behind an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_inert(row.get(column)) for column in columns])
    return out.getvalue()


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
