"""`pfxlab devices`: a fleet of simulated devices beside a running lab."""

from pathlib import Path

import click

from pfxlab.emulator.wire.platforms import PLATFORMS
from pfxlab.scenarios.commands import options, suggest
from pfxlab.scenarios.commands.common import (
    FILE,
    NEW_FILE,
)
from pfxlab.scenarios.commands.ready_file import READY_FILE

_DATA = options.data("The fleet's own folder.")


_JSON = options.as_json()


_JOBS = options.jobs(16, 500, "Parallel devices.")


def _platforms(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    chosen = tuple(part for part in value.split(",") if part)
    unknown = [part for part in chosen if part not in PLATFORMS]
    if unknown or not chosen:
        raise click.BadParameter(f"expected a list of {', '.join(PLATFORMS)}, got {', '.join(unknown) or 'none'}")
    return chosen


@click.group(cls=suggest.Group)
def devices() -> None:
    """Enrol a fleet of simulated devices in a running lab, check them in, and list their certificates."""


@devices.command(name="enroll")
@_DATA
@READY_FILE
@click.option("--count", default=10, show_default=True, type=click.IntRange(1, 100_000), help="Devices to add.")
@click.option(
    "--platforms", default="ios,windows", show_default=True, callback=_platforms,
    help=f"Platforms in turn, from {', '.join(PLATFORMS)}.",
)  # fmt: skip
@click.option(
    "--users", type=click.IntRange(1), help="Test users that own the devices, in turn.  [default: one per device]"
)
@click.option(
    "--shared-keys", default=64, show_default=True, type=click.IntRange(0),
    help="Number of identity keys that the devices share; 0: one key per device.",
)  # fmt: skip
@click.option("--seed", default=7, show_default=True, help="Seed of generated UDIDs.")
@_JOBS
@_JSON
def enroll(
    data: Path | None, ready_file: Path | None, count: int, platforms: tuple[str, ...], users: int | None,
    shared_keys: int, seed: int, jobs: int, as_json: bool,
) -> None:  # fmt: skip
    """Add devices to the fleet: users over Graph, then devices by their platform's protocol."""
    from pfxlab.scenarios.commands.parties import device_fleet as work

    work.enroll(data, ready_file, count, platforms, users, shared_keys, seed, jobs, as_json)


@devices.command(name="checkin")
@click.argument("names", nargs=-1)
@_DATA
@READY_FILE
@click.option("--rounds", default=1, show_default=True, type=click.IntRange(1), help="Check-ins per device.")
@_JOBS
@_JSON
def checkin(
    names: tuple[str, ...], data: Path | None, ready_file: Path | None, rounds: int, jobs: int, as_json: bool
) -> None:
    """Let devices check in, all or those in NAMES. The first check-in requests, a later one installs."""
    from pfxlab.scenarios.commands.parties import device_fleet as work

    work.checkin(names, data, ready_file, rounds, jobs, as_json)


@devices.command(name="show")
@click.argument("name", required=False)
@_DATA
@_JSON
def show(name: str | None, data: Path | None, as_json: bool) -> None:
    """List the fleet, or with NAME the certificates on one device."""
    from pfxlab.scenarios.commands.parties import device_fleet as work

    work.show(name, data, as_json)


@devices.command(name="mail")
@click.argument("name")
@_DATA
@click.option("--open", "opened", type=FILE, help="S/MIME mail to open with what the device holds.")
@click.option("--sign", "text", type=FILE, help="Text to sign with the device's latest signing certificate.")
@click.option("--out", type=NEW_FILE, help="Write the result to this file instead of standard output.")
def mail(name: str, data: Path | None, opened: Path | None, text: Path | None, out: Path | None) -> None:
    """Use the mail program of one device: open an encrypted mail, or sign a text."""
    from pfxlab.scenarios.commands.parties import device_fleet as work

    work.mail(name, data, opened, text, out)
