"""The help of a verb's command: what each of its arguments may be, from its JSON Schema."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from pfxlab.emulator.lab.schemas import MOMENT, NAME, SPAN, UPN
from pfxlab.emulator.lab.verbs import Verb

_FORMS: Final = (
    (SPAN, "a duration such as 1d12h"),
    (MOMENT, "a moment such as 2026-03-01T08:00:00Z"),
    (UPN, "a user principal name"),
    (NAME, "a name"),
)
"""Texts of one form, and how the help says so."""

_TYPES: Final = {
    "string": "a text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "array": "a list such as [a, b]",
    "object": "values such as {a: b}",
}


class VerbCommand(click.Command):
    """The command of a verb, whose help lists the verb's arguments."""

    def __init__(self, verb: Verb, **settings: Any) -> None:
        super().__init__(verb.name.replace("_", "-"), help=verb.does, **settings)
        self._verb = verb

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the arguments above the options."""
        rows = list(arguments(self._verb))
        if rows:
            with formatter.section("Arguments"):
                formatter.write_dl(rows)
        super().format_options(ctx, formatter)


def arguments(verb: Verb) -> Iterator[tuple[str, str]]:
    """Yield each argument as it is typed, and what it may be: the first in capitals, all others as `name=`."""
    whole = verb.arguments or {}
    forms = [whole, *whole.get("anyOf", ())]
    bare = [form for form in forms if "properties" not in form and _is_value(form)]
    for name in verb.named_arguments():
        found = [form["properties"][name] for form in forms if name in form.get("properties", {})]
        yield (name.upper() if name == verb.first else f"{name}=", _either(found))
    if not verb.named_arguments() and not verb.takes_nothing() and bare:
        yield ("VALUE", _either(bare).replace(f" or {_TYPES['array']}", ", one or more"))


def _is_value(form: Mapping[str, Any]) -> bool:
    return any(key in form for key in ("type", "enum", "oneOf")) and form.get("type") != "object"


def _either(schemas: list[Any]) -> str:
    return " or ".join(dict.fromkeys(_text(one) for one in schemas))


def _text(schema: Mapping[str, Any]) -> str:
    """Return what a value may be."""
    for form, text in _FORMS:
        if schema.get("pattern") == form["pattern"]:
            return text
    if "enum" in schema or "const" in schema:
        return ", ".join(map(str, schema.get("enum") or [schema["const"]]))
    inner = [*schema.get("oneOf", ()), *schema.get("anyOf", ())]
    if inner:
        return _either(inner)
    least, most = schema.get("minimum"), schema.get("maximum")
    bounds = "" if least is None else f" from {least}" if most is None else f" from {least} to {most}"
    return f"{_TYPES[schema['type']]}{bounds}"
