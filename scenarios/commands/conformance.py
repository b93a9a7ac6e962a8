"""`pfxlab conformance`: a verdict on a tool, by rules with their sources."""

from collections.abc import Sequence
from pathlib import Path

import click

from pfxlab.scenarios.commands import options, suggest
from pfxlab.scenarios.commands.common import FILE, NEW_FILE
from pfxlab.scenarios.conformance.offered import PLAN_NAMES, RIGHTS


@click.group(cls=suggest.Group)
def conformance() -> None:
    """Test whether a tool follows the rules of the real service, with evidence and a source for each verdict."""


@conformance.command()
@options.as_json("the rules")
def rules(*, as_json: bool) -> None:
    """List every rule with its severity and source."""
    from pfxlab.scenarios.commands import conformance_run as work

    work.rules(as_json=as_json)


@conformance.command()
@options.as_json("the plans")
def plans(*, as_json: bool) -> None:
    """List the plans with their modules and the placeholders for COMMAND."""
    from pfxlab.scenarios.commands import conformance_run as work

    work.plans(as_json=as_json)


@conformance.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--plan", "plan_name", type=suggest.Choice(PLAN_NAMES), required=True, help="Kind of tool.")
@click.option("--module", "only", multiple=True, help="Only this module; can be repeated.")
@click.option("--rights", default=",".join(RIGHTS), show_default=True, help="Application rights the tool is granted.")
@click.option("--expected-failures", "known", type=FILE, help="YAML with known failures: rule id and reason.")
@click.option(
    "--timeout", "seconds", type=options.Duration("1s"), help="Time limit of each run, instead of the module's."
)
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1, 16), help="Parallel runs.")
@options.as_json("the verdicts")
@click.option("--json-file", type=NEW_FILE, help="Write the verdicts to this file as JSON.")
@click.option("--junit", "junit_file", type=NEW_FILE, help="Write the verdicts to this file as JUnit XML.")
@click.option("--html", "html_file", type=NEW_FILE, help="Write a page with all evidence to this file.")
@click.option("--attach", is_flag=True, help="Run no COMMAND: you start the tool, once per module.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def run(
    plan_name: str, only: Sequence[str], rights: str, known: Path | None, seconds: float | None, jobs: int,
    json_file: Path | None, junit_file: Path | None, html_file: Path | None, command: Sequence[str], *, attach: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Run COMMAND once for each module of a plan, and judge it. Exit code 1: it breaks a mandatory rule.

    COMMAND may contain placeholders such as {pfx} or {upn}; `pfxlab conformance plans` lists them. The environment is
    that of `pfxlab exec`, with an application that has only the rights named.
    """
    from pfxlab.scenarios.commands import conformance_run as work

    work.run(
        plan_name,
        only,
        rights,
        known,
        seconds,
        jobs,
        json_file,
        junit_file,
        html_file,
        command,
        attach=attach,
        as_json=as_json,
    )
