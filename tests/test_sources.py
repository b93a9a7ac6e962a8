"""The facts in scenarios/sources and their citations: every one says where it is from, and leads there."""

import re
from dataclasses import fields
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pfxlab.emulator.config import Switches
from pfxlab.scenarios.sources.facts import CONFIDENCES, Fact, fact, facts, groups, sources_page

ROOT = Path(__file__).parents[1]
PUBLIC = {
    "cheatsheetseries.owasp.org", "developer.android.com", "developer.apple.com", "docs.oasis-open.org", "github.com",
    "learn.microsoft.com", "pubs.opengroup.org", "www.rfc-editor.org", "www.w3.org",
}  # fmt: skip
"""Hosts of pages that anybody can open."""


@pytest.mark.parametrize("one", facts().values(), ids=lambda one: one.anchor)
def test_fact_says_where_it_is_from(one: Fact) -> None:
    """A fact is documented or observed on a dated public page, or says how it was measured or why it is assumed."""
    assert one.confidence in CONFIDENCES
    assert one.text.endswith(".")
    if one.confidence in ("documented", "observed"):
        assert one.pages
        assert not one.how
        assert re.fullmatch(r"\d{4}(-\d\d(-\d\d)?)?", one.seen)
    else:
        assert one.how.endswith(".")


@pytest.mark.parametrize("one", facts().values(), ids=lambda one: one.anchor)
def test_pages_are_public(one: Fact) -> None:
    """Every page of a fact has a title and an https address on a host that is open to all."""
    for page in one.pages:
        parts = urlsplit(page.address)
        assert (parts.scheme, parts.hostname in PUBLIC) == ("https", True), page.address
        assert len(parts.path) > 1, f"{page.address} is a whole host"
        assert page.title


def test_anchors_are_headings() -> None:
    """Each fact stands under its anchor as a heading of the page, in kebab-case and once."""
    anchors = [one.anchor for group in groups() for one in group.facts]
    assert re.findall(r"^### (.+)$", sources_page(), re.MULTILINE) == anchors
    assert [name for name in anchors if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)] == []
    assert len(set(anchors)) == len(anchors)


def test_unknown_anchor_is_named() -> None:
    """An anchor that no fact has is refused by its name."""
    with pytest.raises(LookupError, match=r"expected an anchor of docs/sources\.md, got 'no-such-fact'"):
        fact("no-such-fact")


def test_citation_shows_title_and_address() -> None:
    """A documented fact is cited by its page, an assumed one by how it came about."""
    assert fact("oaep-length").cited == [
        "RFC 8017, PKCS #1, section 7.1.1, https://www.rfc-editor.org/rfc/rfc8017#section-7.1.1"
    ]
    assert fact("connector-inactive").cited == ["assumed: Chosen; a switch sets it."]


def test_every_switch_is_as_sure_as_its_fact() -> None:
    """Each row of docs/divergences.md names its fact, and a switch is as sure as the fact says."""
    page = (ROOT / "docs" / "divergences.md").read_text("utf-8")
    rows = [row for row in re.findall(r"^\| .*$", page, re.MULTILINE) if not row.startswith(("| switch |", "| what |"))]
    sources = [re.findall(r"\| \[([\w-]+)\]\(sources\.md#\1\) \|$", row) for row in rows]
    assert len(rows) > 50
    assert [row for row, found in zip(rows, sources, strict=True) if not found] == []
    sure = re.findall(r"^\| `(\w+)` \| `[^`]*` \| (\w+).*\(sources\.md#([\w-]+)\) \|$", page, re.MULTILINE)
    assert len(sure) == len(fields(Switches))
    assert {name: word for name, word, _ in sure} == {name: fact(anchor).confidence for name, _, anchor in sure}
