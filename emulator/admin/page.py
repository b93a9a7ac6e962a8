"""What a page is: what it looks at, what it shows, the table it exports; and how it becomes HTML. No HTTP library.

A page's template has a block `live`: what changes while one looks. live.py renders it anew and sends it to all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from pfxlab.emulator.admin.names import PURPOSES
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.wire.platforms import PLATFORMS

if TYPE_CHECKING:
    from jinja2 import Environment

PREFIX: Final = "/admin"
_LIVE: Final = "live"


@dataclass(frozen=True)
class Look:
    """A signed-in look at a page: `query` and `place` are the values of its address, `csrf` is for its forms."""

    cloud: Cloud
    tenant_id: str
    upn: str
    csrf: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    place: Mapping[str, str] = field(default_factory=dict)

    @property
    def of_the_lab(self) -> bool:
        """Return whether the lab's own tenant looks: journal, world and reports are about all tenants."""
        return bool(self.tenant_id == self.cloud.directory.tenants()[0]["id"])

    def number(self, name: str, default: int = 0) -> int:
        """Return a whole number of the query; the default for anything else."""
        text = self.query.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else default


@dataclass(frozen=True)
class Table:
    """A page's table for export: all rows, not only those that the page shows."""

    columns: Sequence[str]
    rows: Callable[[], Iterable[Mapping[str, Any]]]


@dataclass(frozen=True)
class Shown:
    """What a page shows."""

    template: str
    values: Mapping[str, Any]
    table: Table | None = None
    status: int = 200


View = Callable[[Look], Shown]


def moment(value: datetime | str) -> str:
    """Return a moment as people read it, to the second, in UTC."""
    text = value.isoformat() if isinstance(value, datetime) else value
    return text[:19].replace("T", " ")


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    return f"{count:,} bytes" if count < 1024 else f"{count / 1024:,.1f} KiB"


def with_query(look: Look, **changes: Any) -> str:
    """Return the query of a look with some values changed; empty ones are left out."""
    values = {**look.query, **{name: str(value) for name, value in changes.items()}}
    values.pop("tour", None)
    return "?" + urlencode({name: value for name, value in values.items() if value})


@cache
def _templates() -> "Environment":
    # Loaded with the first page: most labs show none.
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("pfxlab.emulator.admin")
    templates = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    templates.filters |= {
        "platform": lambda name: PLATFORMS[name].display_name if name in PLATFORMS else name,
        "purpose": lambda name: PURPOSES.get(name, name),
        "moment": moment,
        "size": size,
        "thousands": lambda number: f"{number:,}",
    }
    return templates


def not_found(what: str, wanted: str) -> Shown:
    """Return the page for something that this tenant does not have."""
    return Shown("missing.html", {"what": what, "wanted": wanted}, status=404)


def render(look: Look, shown: Shown, **more: Any) -> str:
    """Return the whole page."""
    values = {**shown.values, **more, "look": look, "again": lambda **changes: with_query(look, **changes)}
    return _templates().get_template(shown.template).render(values)


def render_live(look: Look, shown: Shown) -> str:
    """Return the part of a page that changes; empty when it has none."""
    template = _templates().get_template(shown.template)
    block = template.blocks.get(_LIVE)
    values = {**shown.values, "look": look, "again": lambda **changes: with_query(look, **changes)}
    return "" if block is None else "".join(block(template.new_context(values)))
