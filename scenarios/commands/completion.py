"""What the shell offers for names of files that come with the lab: scenarios, load plans."""

from collections.abc import Callable
from importlib.resources import files

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def names_in(package: str, folder: str) -> Complete:
    """Return a completion with the names of a package's YAML files, and the user's own files after them."""

    def complete(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
        known = sorted(file.name.removesuffix(".yaml") for file in files(package).joinpath(folder).iterdir())
        return [CompletionItem(name) for name in known if name.startswith(begun)] or [
            CompletionItem(begun, type="file")
        ]

    return complete


SCENARIOS = names_in("pfxlab.scenarios.scenario", "catalogue")
LOAD_PLANS = names_in("pfxlab.scenarios.load", "plans")
