"""`pfxlab scenario`: list, show, check and run scenarios."""

from collections.abc import Sequence
from pathlib import Path

import click

from pfxlab.scenarios.commands import options, suggest
from pfxlab.scenarios.commands.common import NEW_FILE
from pfxlab.scenarios.commands.completion import SCENARIOS


@click.group(cls=suggest.Group)
def scenario() -> None:
    """Run scenarios: scripted steps in a new lab, with the results they must have."""


@scenario.command(name="list")
@options.as_json("names and titles")
def list_(*, as_json: bool) -> None:
    """List the scenarios that come with the lab."""
    from pfxlab.scenarios.commands.lab import scenario_run as work

    work.list_(as_json=as_json)


@scenario.command()
@click.argument("name", shell_complete=SCENARIOS)
def show(name: str) -> None:
    """Print a scenario's YAML, as a starting point for your own."""
    from pfxlab.scenarios.commands.lab import scenario_run as work

    work.show(name)


@scenario.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def check(files: Sequence[Path]) -> None:
    """Check that files are valid scenarios, without running them."""
    from pfxlab.scenarios.commands.lab import scenario_run as work

    work.check(files)


@scenario.command()
def schema() -> None:
    """Print the JSON Schema of a scenario, for editors."""
    from pfxlab.scenarios.commands.lab import scenario_run as work

    work.schema()


@scenario.command()
@click.argument("names", nargs=-1, shell_complete=SCENARIOS)
@click.option("--all", "every", is_flag=True, help="Every scenario that comes with the lab.")
@click.option("--seed", type=click.IntRange(0), help="Seed of ids and random faults.  [default: the scenario's, or 7]")
@click.option("--strict", is_flag=True, help="Fail a scenario if one of its faults never strikes.")
@options.as_json()
@click.option("--junit", type=NEW_FILE, help="Write the result as JUnit XML here.")
@click.option("--bundle", "bundles", type=click.Path(file_okay=False, path_type=Path),
              help="Write a reproduction bundle of each scenario into this folder.")  # fmt: skip
def run(
    names: Sequence[str],
    seed: int | None,
    junit: Path | None,
    bundles: Path | None,
    *,
    every: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Run scenarios of the catalogue by name, or your own from YAML files. Exit code 1: one has failed."""
    from pfxlab.scenarios.commands.lab import scenario_run as work

    work.run(names, seed, junit, bundles, every=every, strict=strict, as_json=as_json)
