"""The syntax of $filter: text to tree, its size and its nesting bounded on the way to the parser.

The parser's time grows with the number of tokens, and what walks its tree recurses: both are counted on the way. The
limits are the lab's own, docs/divergences.md#choices-without-a-switch.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from odata_query import exceptions
from odata_query.grammar import ODATA_FUNCTIONS, ODataLexer, ODataParser

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.odata.query import LONGEST_URL

# Scripts ask for a type's profiles by isof('microsoft.graph.…'), which the parser's table of functions lacks.
ODATA_FUNCTIONS.setdefault("isof", 1)

DEEPEST: Final = 40
"""Nesting of expressions that is taken: parentheses, `not`, signs, segments of a path."""

_MOST_TOKENS: Final = 1500
_OPENING: Final = ("NOT", "UMINUS", "/")

# Spellings the service takes and the parser does not: a list of one (it wants a comma), `not(`, and function names in
# any case, such as the startsWith of Microsoft's samples. Literals are passed over.
_SPELLINGS: Final = re.compile(
    r"'(?:[^']|'')*'|(?i:\bin)\s*\(\s*(?P<one>'(?:[^']|'')*'|[^'(),\s]+)\s*\)|(?P<not>(?i:\bnot))\s*\("
    r"|(?P<function>(?i:\b(?:startswith|endswith|contains|tolower|toupper|isof)))\s*\("
)


def _spelled(match: re.Match[str]) -> str:
    if match["one"] is not None:
        return f"in ({match['one']},)"
    if match["not"] is not None:
        return "not ("
    return match[0] if match["function"] is None else f"{match['function'].lower()}("


def _bounded(tokens: Iterable[Any]) -> Iterator[Any]:
    """Pass tokens on as long as the expression is neither too long nor nested too deep."""
    depth = run = 0
    for number, token in enumerate(tokens, 1):
        depth += {"(": 1, ")": -1}.get(token.type, 0)
        if token.type in _OPENING:
            run += 1
        elif token.type not in ("WS", "ODATA_IDENTIFIER", "("):
            run = 0
        if max(depth, run) > DEEPEST:
            raise errors.invalid_filter(f"expressions nested deeper than {DEEPEST} are not supported")
        if number > _MOST_TOKENS:
            raise errors.invalid_filter(f"more than {_MOST_TOKENS} words, literals and signs are not supported")
        yield token


def parse(text: str) -> Any:
    """Return the tree of a $filter.

    Raises:
        GraphError: it does not parse, is too long or nested too deep.

    """
    if len(text) > LONGEST_URL:
        raise errors.invalid_filter(f"expected at most {LONGEST_URL} characters, got {len(text)}")
    try:
        tree = ODataParser().parse(_bounded(ODataLexer().tokenize(_SPELLINGS.sub(_spelled, text))))
    except (exceptions.ODataException, ValueError) as error:
        # A ValueError: Python reads no whole number of more than 4300 digits.
        place = getattr(getattr(error, "token", None), "index", len(text))
        raise errors.invalid_filter(
            f"Syntax error at position {place} in '{text[:1000]}'.", str(error)[:1000]
        ) from None
    if tree is None:
        raise errors.invalid_filter(f"Syntax error at position 0 in '{text[:1000]}'.")
    return tree
