"""The facts about the real products, read from the YAML files beside this module.

Whatever rests on a fact names its anchor: `sources.md#record-id` in docstrings and comments, `source="record-id"` in
tables and marks. docs/sources.md shows them all.
"""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml

CONFIDENCES: Final = {
    "documented": "a public page of the product's maker, or a standard, states it",
    "observed": "it was seen on the real product or in its makers' own tools; the page tells of that",
    "measured": "it was measured for the lab, as the entry describes",
    "assumed": "no source states it; the entry says why the lab does it this way",
}
"""How sure a fact is, surest first, and what that means."""

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Page:
    """A public page: its title, and its https address."""

    title: str
    address: str

    def __str__(self) -> str:
        """Return title and address."""
        return f"{self.title}, {self.address}"


@dataclass(frozen=True)
class Fact:
    """A fact in the lab's own words. `seen`: the date of the copy that was read, YYYY[-MM[-DD]], or empty.

    What is documented or observed has at least one page and a date. What is measured or assumed says how.
    """

    anchor: str
    text: str
    confidence: str
    pages: tuple[Page, ...]
    seen: str
    how: str

    @property
    def cited(self) -> list[str]:
        """Return what a verdict shows, a line each: how the fact was found, if no page states it, then the pages."""
        own = [f"{self.confidence}: {self.how}"] if self.how else []
        return own + [str(page) for page in self.pages]


@dataclass(frozen=True)
class Group:
    """Facts that belong together, under a title and a sentence about them."""

    title: str
    about: str
    facts: tuple[Fact, ...]


_FILES: Final = (
    "graph-records", "graph-wire", "graph-resources", "graph-directory", "sign-in", "intune", "connector", "windows",
    "apple", "android", "cryptography", "tools",
)  # fmt: skip
"""The files, in the order in which the page shows them."""


@cache
def groups() -> tuple[Group, ...]:
    """Return every group in the order of the page."""
    return tuple(_group(yaml.load(_text(name), Loader=_LOADER)) for name in _FILES)  # noqa: S506 (a safe loader)


@cache
def facts() -> dict[str, Fact]:
    """Return anchor → fact, in the order of the page."""
    return {one.anchor: one for group in groups() for one in group.facts}


def fact(anchor: str) -> Fact:
    """Return the fact of an anchor.

    Raises:
        LookupError: there is none; with the anchor.

    """
    try:
        return facts()[anchor]
    except KeyError:
        raise LookupError(f"expected an anchor of docs/sources.md, got {anchor!r}") from None


def links(anchor: str) -> str:
    """Return a fact's links in a page under docs/: to its section, and to its first page unless none states it."""
    one = fact(anchor)
    where = one.confidence if one.how else f"[{one.pages[0].title}]({one.pages[0].address})"
    return f"[{anchor}](sources.md#{anchor}): {where}"


def sources_page() -> str:
    """Return docs/sources.md."""
    lines = [
        "# Sources",
        "",
        "Generated from `scenarios/sources/`: `make docs`. What the lab knows of the real products, and where from.",
        "Each heading is the anchor by which code, rules, tables and tests cite a fact: `sources.md#record-id` in a",
        'docstring or a comment, `source="record-id"` in a table. *Seen* is the date of the copy that was read; where',
        "a page bears none, the year in which it was read. Standards bear the date of their publication.",
        "",
        "| confidence | meaning |",
        "|---|---|",
    ]
    lines += [f"| {name} | {meaning} |" for name, meaning in CONFIDENCES.items()]
    for group in groups():
        lines += ["", f"## {group.title}", "", group.about]
        for one in group.facts:
            lines += ["", *_section(one)]
    return "\n".join(lines) + "\n"


def _section(one: Fact) -> Iterator[str]:
    yield from (f"### {one.anchor}", "", *textwrap.wrap(one.text, 120, break_on_hyphens=False), "")
    yield from (f"- Page: [{page.title}]({page.address})" for page in one.pages)
    if one.seen:
        yield f"- Seen: {one.seen}"
    yield f"- Confidence: {one.confidence}"
    if one.how:
        yield f"- How: {one.how}"


def _text(name: str) -> str:
    return (files(__package__) / f"{name}.yaml").read_text("utf-8")


def _group(body: dict[str, Any]) -> Group:
    return Group(body["title"], body["about"], tuple(_fact(anchor, one) for anchor, one in body["facts"].items()))


def _fact(anchor: str, body: dict[str, Any]) -> Fact:
    pages = tuple(Page(title, address) for title, address in body.get("pages", ()))
    return Fact(anchor, body["fact"], body["confidence"], pages, body.get("seen", ""), body.get("how", ""))
