"""`pfxlab up` and `pfxlab exec`: a lab that stays, or lives as long as one command."""

from pathlib import Path

import click

from pfxlab.scenarios.commands import options
from pfxlab.scenarios.commands.common import FILE
from pfxlab.scenarios.control.parts import PARTS
from pfxlab.scenarios.nearest import near


def _parts(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    parts = tuple(part for part in value.split(",") if part)
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise click.BadParameter(
            f"expected a list of {', '.join(PARTS)}, got {', '.join(unknown)}{near(unknown[0], PARTS)}"
        )
    return parts


@click.command()
@click.option("--port", default=0, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free port.")
@options.data("Keep everything in this folder.")
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the ready file here when the lab is up, instead of the default place, where other commands find it.",
)
@click.option("--with", "parts", default="", callback=_parts, help="Also run: connector,devices")
@click.option(
    "--config", "config_file", type=FILE, help="YAML with switches and further tenants; see docs/configuration.md."
)
@click.option("--seed", type=int, help="Seed of generated ids.  [default: 7]")
@click.option(
    "--explain", is_flag=True, help="Send clients the reason of a refusal, and what to do, in x-pfxlab-reason and -tip."
)
@click.option(
    "--reports", type=click.Path(file_okay=False, path_type=Path),
    help="Folder of conformance and load reports for the admin centre.",
)  # fmt: skip
@options.as_json("the ready facts")
def up(
    port: int,
    data: Path | None,
    ready_file: Path | None,
    parts: tuple[str, ...],
    config_file: Path | None,
    seed: int | None,
    explain: bool,
    reports: Path | None,
    as_json: bool,
) -> None:
    """Run a lab until Ctrl-C or SIGTERM. With --data its records survive a restart."""
    from pfxlab.scenarios.commands.lab import serving as work

    work.up(port, data, ready_file, parts, config_file, seed, explain, reports, as_json)


@click.command(name="exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@options.data("Keep everything in this folder.")
@click.option("--with", "parts", default="", callback=_parts, help="Also run: connector,devices")
@click.option(
    "--config", "config_file", type=FILE, help="YAML with switches and further tenants; see docs/configuration.md."
)
@click.option("--seed", type=int, help="Seed of generated ids.  [default: 7]")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_command(
    data: Path | None, parts: tuple[str, ...], config_file: Path | None, seed: int | None, command: tuple[str, ...]
) -> None:
    """Run COMMAND against a temporary lab; the exit code is that of COMMAND."""
    from pfxlab.scenarios.commands.lab import serving as work

    work.exec_command(data, parts, config_file, seed, command)
