"""Rules of assignment filters: read once, then asked which devices they match. Pure.

A rule compares properties of a device with values: `(device.model -startsWith "iPhone") and (device.osVersion -ne
"17.1")`. Names, operators and values are case-insensitive. Sources: sources.md#filter-rules,
sources.md#filter-properties, sources.md#filter-operators-of-the-model, sources.md#filter-limits; how `and` binds and
how versions of different length compare: sources.md#filter-rule-gaps.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from pfxlab.emulator.wire.text import quoted

LONGEST: Final = 3072
"""Characters in a rule."""

_DEEPEST: Final = 40
_CHOICE: Final = frozenset({"eq", "ne", "in", "notin"})
_PARTS: Final = frozenset({"startswith", "endswith", "contains"})
_TEXT: Final = _CHOICE | _PARTS | {f"not{part}" for part in _PARTS}
_TWO: Final = frozenset({"eq", "ne"})
_ORDER: Final = frozenset({"gt", "ge", "lt", "le"})
_VERSION: Final = _TWO | _ORDER
_LISTS: Final = frozenset({"in", "notin"})
DEVICE_PROPERTIES: Final[Mapping[str, frozenset[str]]] = {
    "cpuarchitecture": _CHOICE,
    "devicecategory": _TEXT,
    "devicename": _TEXT,
    "deviceownership": _TWO,
    "devicetrusttype": _CHOICE,
    "enrollmentprofilename": _TEXT,
    "isrooted": _TWO,
    "manufacturer": _TEXT,
    "model": _TEXT,
    "operatingsystemsku": _TEXT,
    "operatingsystemversion": _VERSION,
    "osversion": _TEXT,
}
"""Property of a managed device, in lower case → the operators it takes."""

APP_PROPERTIES: Final[Mapping[str, frozenset[str]]] = {
    "appversion": _TEXT,
    "devicemanagementtype": _TWO,
    "devicemanufacturer": _TEXT,
    "devicemodel": _TEXT,
    "operatingsystemversion": _VERSION,
    "osversion": _TEXT,
}
"""Property of a managed app, likewise."""

_ENTITIES: Final = {"device": DEVICE_PROPERTIES, "app": APP_PROPERTIES}
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<sign>[()\[\],])|"(?P<text>[^"]*)"|(?P<word>[^\s()\[\],"]+))""",
)
_VERSION_TEXT: Final = re.compile(r"\d{1,9}(?:\.\d{1,9}){0,3}", re.ASCII)

Properties: TypeAlias = Mapping[str, str | None]
"""Property in lower case → its value, None or missing when the device has none."""

Match: TypeAlias = Callable[[Properties], bool]


class RuleInvalid(ValueError):
    """A rule that cannot be read; the message says what was expected and got, and at which character."""


class _Token(NamedTuple):
    kind: str
    text: str
    place: int


@dataclass(frozen=True)
class FilterRule:
    """A rule that was read. `entity`: `device` or `app`, what it is about."""

    text: str
    entity: str
    match: Match

    def matches(self, properties: Properties) -> bool:
        """Return whether the rule holds of a device with these properties."""
        return self.match(properties)


@lru_cache(maxsize=512)
def read_rule(text: str) -> FilterRule:
    """Return the rule that a text states.

    Raises:
        RuleInvalid: it is no rule, too long, or nested too deeply.

    """
    if len(text) > LONGEST:
        raise RuleInvalid(f"expected a rule of at most {LONGEST} characters, got {len(text)}")
    return _Reader(text).rule()


def _tokens(text: str) -> list[_Token]:
    tokens, place, end = [], 0, len(text.rstrip())
    while place < end:
        found = _TOKEN.match(text, place)
        if found is None:
            raise RuleInvalid(f"expected a closing quotation mark after character {place}, got the end of the rule")
        kind = str(found.lastgroup)
        opening = 1 if kind == "text" else 0
        tokens.append(_Token(kind, found[kind], found.start(kind) - opening))
        place = found.end()
    return [*tokens, _Token("end", "", end)]


class _Reader:
    """Reads a rule by descent: or over and, over comparisons and parentheses."""

    def __init__(self, text: str) -> None:
        self._text, self._tokens, self._next, self._depth = text, _tokens(text), 0, 0
        self._entities: set[str] = set()

    def rule(self) -> FilterRule:
        match = self._either()
        self._expect("end", "")
        if len(self._entities) > 1:
            raise RuleInvalid("expected properties of devices or of apps, got both")
        return FilterRule(self._text, self._entities.pop(), match)

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._peek()
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _wrong(self, wanted: str, got: _Token) -> RuleInvalid:
        shown = "the end of the rule" if got.kind == "end" else quoted(got.text)
        return RuleInvalid(f"expected {wanted} at character {got.place}, got {shown}")

    def _expect(self, kind: str, text: str) -> None:
        token = self._take()
        if (token.kind, token.text) != (kind, text):
            raise self._wrong(quoted(text) if text else "and, or, or the end", token)

    def _follows(self, sign: str) -> bool:
        token = self._peek()
        return (token.kind, token.text) == ("sign", sign)

    def _joined(self, word: str) -> bool:
        """Pass over a word that joins conditions, if it comes next; return whether it did."""
        token = self._peek()
        found = token.kind == "word" and token.text.casefold() in (word, f"-{word}")
        if found:
            self._take()
        return found

    def _either(self) -> Match:
        parts = [self._both()]
        while self._joined("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda properties: any(part(properties) for part in parts)

    def _both(self) -> Match:
        parts = [self._condition()]
        while self._joined("and"):
            parts.append(self._condition())
        return parts[0] if len(parts) == 1 else lambda properties: all(part(properties) for part in parts)

    def _condition(self) -> Match:
        if self._joined("not"):
            inner = self._nested(self._condition)
            return lambda properties: not inner(properties)
        if self._follows("("):
            self._take()
            inner = self._nested(self._either)
            self._expect("sign", ")")
            return inner
        return self._comparison()

    def _nested(self, read: Callable[[], Match]) -> Match:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise RuleInvalid(f"expected parentheses nested at most {_DEEPEST} deep")
        inner = read()
        self._depth -= 1
        return inner

    def _comparison(self) -> Match:
        name, operators = self._property()
        token = self._take()
        operator = token.text.casefold().removeprefix("-")
        operator = {"equals": "eq", "notequals": "ne"}.get(operator, operator)
        if token.kind != "word" or operator not in operators:
            raise self._wrong(f"one of {', '.join(f'-{one}' for one in sorted(operators))} for {name}", token)
        if operator in _LISTS:
            return _compared(name, operator, self._list())
        return _compared(name, operator, (self._value(name, operator),))

    def _property(self) -> tuple[str, frozenset[str]]:
        token = self._take()
        entity, _, name = token.text.casefold().partition(".")
        known = _ENTITIES.get(entity, {})
        if token.kind != "word" or name not in known:
            raise self._wrong("a property such as device.model", token)
        self._entities.add(entity)
        return name, known[name]

    def _value(self, name: str, operator: str) -> str | None:
        token = self._take()
        if token.kind == "word" and token.text.casefold() in ("null", "$null") and operator in _TWO:
            return None
        if name == "operatingsystemversion":
            if token.kind in ("word", "text") and _VERSION_TEXT.fullmatch(token.text):
                return token.text
            raise self._wrong("a version such as 14.2.1", token)
        if token.kind != "text":
            raise self._wrong("a value in double quotation marks", token)
        return token.text

    def _list(self) -> tuple[str, ...]:
        self._expect("sign", "[")
        values = [self._text_value()]
        while self._follows(","):
            self._take()
            values.append(self._text_value())
        self._expect("sign", "]")
        return tuple(values)

    def _text_value(self) -> str:
        token = self._take()
        if token.kind != "text":
            raise self._wrong("a value in double quotation marks", token)
        return token.text


def _compared(name: str, operator: str, values: tuple[str | None, ...]) -> Match:
    """Return a comparison of a property with values; what a device does not have is equal to null alone."""
    if name == "operatingsystemversion" and values[0] is not None:
        return _version_compared(name, operator, values[0])
    negated = operator in ("ne", "notin") or operator.startswith("not")
    holds = _HOLDS[operator.removeprefix("not") if operator != "ne" else "eq"]
    folded = tuple(None if value is None else value.casefold() for value in values)

    def match(properties: Properties) -> bool:
        present = properties.get(name)
        shown = None if present is None else present.casefold()
        return any(holds(shown, value) for value in folded) is not negated

    return match


def _equal(present: str | None, value: str | None) -> bool:
    return present == value


_HOLDS: Final[Mapping[str, Callable[[str | None, str | None], bool]]] = {
    "eq": _equal,
    "in": _equal,
    "startswith": lambda present, value: present is not None and present.startswith(value or ""),
    "endswith": lambda present, value: present is not None and present.endswith(value or ""),
    "contains": lambda present, value: present is not None and (value or "") in present,
}
_ORDERS: Final[Mapping[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]]] = {
    "eq": lambda present, wanted: present == wanted,
    "gt": lambda present, wanted: present > wanted,
    "ge": lambda present, wanted: present >= wanted,
    "lt": lambda present, wanted: present < wanted,
    "le": lambda present, wanted: present <= wanted,
}


def _version_compared(name: str, operator: str, value: str) -> Match:
    wanted = _version(value)
    holds = _ORDERS["eq" if operator == "ne" else operator]

    def match(properties: Properties) -> bool:
        present = _version(properties.get(name) or "")
        found = present is not None and wanted is not None and holds(present, wanted)
        return found is not (operator == "ne")

    return match


def _version(text: str) -> tuple[int, ...] | None:
    """Return the four numbers of a version, missing ones as 0; what follows them, as in `10.15.3 (19D2064)`, is cut."""
    found = _VERSION_TEXT.match(text.strip())
    if found is None:
        return None
    numbers = [int(part) for part in found[0].split(".")]
    return tuple(numbers + [0] * (4 - len(numbers)))
