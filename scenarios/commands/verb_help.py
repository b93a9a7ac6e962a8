"""The help of a verb's command: what each of its arguments may be, from its JSON Schema."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from pfxlab.emulator.lab.verbs import Verb
from pfxlab.emulator.wire.json_schema import A_LIST, described_either


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
        yield (name.upper() if name == verb.first else f"{name}=", described_either(found))
    if not verb.named_arguments() and not verb.takes_nothing() and bare:
        yield ("VALUE", described_either(bare).replace(f" or {A_LIST}", ", one or more"))


def _is_value(form: Mapping[str, Any]) -> bool:
    return any(key in form for key in ("type", "enum", "oneOf")) and form.get("type") != "object"
