"""The facts in scenarios/sources and their citations: each fact names its source, each citation resolves."""

import ast
import re
import subprocess
from dataclasses import fields
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pfxlab.emulator.config import Switches
from pfxlab.scenarios.conformance.rules import RULES
from pfxlab.scenarios.scenario.loader import catalogue
from pfxlab.scenarios.sources.facts import CONFIDENCES, Fact, fact, facts, groups, sources_page

ROOT = Path(__file__).parents[1]
PUBLIC = {
    "cheatsheetseries.owasp.org", "developer.android.com", "developer.apple.com", "docs.oasis-open.org", "github.com",
    "learn.microsoft.com", "pubs.opengroup.org", "www.rfc-editor.org", "www.w3.org",
}  # fmt: skip
"""Hosts of pages that anybody can open."""

_LISTED = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
_OWN = ("docs/sources.md", "scenarios/sources/", "tests/test_sources.py")
TEXTS = {
    name: (ROOT / name).read_text("utf-8")
    for name in _LISTED
    if name.endswith((".html", ".json", ".md", ".py", ".yaml")) and not name.startswith(_OWN)
}
"""Every text of the repository that may cite a fact, by its path."""

OLD_FORMS = (
    r"\bgraph-(intune|clients) \d", r"\bauth-clients\b", r"\b[Rr]eference (graph|devices|auth|peers)", r"\bdevices [A-J]\d",
    r"\bFrench document", r"\bas digested in\b", r"\bGraph reference(,| has)", r"\bself-checks? \d",
)  # fmt: skip
"""Citations that no reader could follow: sections of notes that are not in the repository, pages without address."""


def _cited(name: str) -> set[str]:
    """Return the anchors that a file cites: in its texts, in the source of a scenario, of its rules and its marks."""
    found = set(re.findall(r"sources\.md#([\w-]*)", TEXTS[name]))
    if name.startswith("scenarios/scenario/catalogue/"):
        found |= set(re.findall(r"^source: (.*)$", TEXTS[name], re.MULTILINE))
    return found | _fields(name) if name.endswith(".py") else found


def _fields(name: str) -> set[str]:
    calls = [node for node in ast.walk(ast.parse(TEXTS[name])) if isinstance(node, ast.Call)]
    tables = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in ("Rule", "behaviour")]
    words = [word.value for call in tables for word in call.keywords if word.arg == "source"]
    assert len(words) == len(tables), f"{name}: a rule or mark without its source"
    return {str(ast.literal_eval(word)) for word in words}


CITED = {name: cited for name in TEXTS if (cited := _cited(name))}


@pytest.mark.parametrize("one", facts().values(), ids=lambda one: one.anchor)
def test_fact_names_its_source(one: Fact) -> None:
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
    """Every page of a fact has a title and a public https address."""
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


@pytest.mark.parametrize("name", CITED)
def test_every_citation_resolves(name: str) -> None:
    """Each anchor that a file cites is that of a fact."""
    assert sorted(CITED[name] - set(facts())) == []


def test_no_fact_is_idle() -> None:
    """Each fact is cited by something other than the page of facts."""
    assert sorted(set(facts()) - set().union(*CITED.values())) == []


def test_rules_and_scenarios_are_among_the_citations() -> None:
    """The sources of rules and scenarios are parsed as citations, so that these tests cover them."""
    rules = set().union(*(cited for name, cited in CITED.items() if name.startswith("scenarios/conformance/rules/")))
    assert {rule.source for rule in RULES.values()} <= rules
    scenarios = {name for name in CITED if name.startswith("scenarios/scenario/catalogue/")}
    assert {Path(name).stem for name in scenarios} == set(catalogue())


@pytest.mark.parametrize("form", OLD_FORMS)
def test_no_dead_citations(form: str) -> None:
    """No file cites anything in a form that names no anchor."""
    assert [f"{name}: {found[0]}" for name, text in TEXTS.items() if (found := re.search(form, text))] == []


def test_sources_of_a_docstring_are_anchors() -> None:
    """The text after Source, Sources or Expected values in docstrings is an anchor of a fact."""
    form = r"\b(?:Sources?|Expected values|Layouts?): +\n? *(?!sources\.md#).{0,30}"
    python = {name: text for name, text in TEXTS.items() if name.endswith(".py")}
    assert [f"{name}: {found[0]}" for name, text in python.items() if (found := re.search(form, text))] == []


def test_unknown_anchor_is_named() -> None:
    """An anchor that no fact has is refused by its name."""
    with pytest.raises(LookupError, match=r"expected an anchor of docs/sources\.md, got 'no-such-fact'"):
        fact("no-such-fact")


def test_citation_shows_title_and_address() -> None:
    """A documented fact is cited by its page, an assumed one by its reason."""
    assert fact("oaep-length").cited == [
        "RFC 8017, PKCS #1, section 7.1.1, https://www.rfc-editor.org/rfc/rfc8017#section-7.1.1"
    ]
    assert fact("connector-inactive").cited == ["assumed: Chosen; a switch sets it."]


def test_every_switch_is_as_sure_as_its_fact() -> None:
    """Each row of docs/divergences.md names its fact, and a switch has the fact's confidence."""
    page = (ROOT / "docs" / "divergences.md").read_text("utf-8")
    rows = [row for row in re.findall(r"^\| .*$", page, re.MULTILINE) if not row.startswith(("| switch |", "| what |"))]
    sources = [re.findall(r"\| \[([\w-]+)\]\(sources\.md#\1\) \|$", row) for row in rows]
    assert len(rows) > 50
    assert [row for row, found in zip(rows, sources, strict=True) if not found] == []
    sure = re.findall(r"^\| `(\w+)` \| `[^`]*` \| (\w+).*\(sources\.md#([\w-]+)\) \|$", page, re.MULTILINE)
    assert len(sure) == len(fields(Switches))
    assert {name: word for name, word, _ in sure} == {name: fact(anchor).confidence for name, _, anchor in sure}
