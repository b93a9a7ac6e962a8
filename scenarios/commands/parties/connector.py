"""`pfxlab connector`: a certificate connector in its own process, as on the customer's server."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from pfxlab.connector_sim import VERSION
from pfxlab.connector_sim.keys.software import PROVIDER_NAME
from pfxlab.connector_sim.validate import TEST_FILE
from pfxlab.scenarios.commands import options, suggest
from pfxlab.scenarios.commands.common import (
    FILE,
)
from pfxlab.scenarios.commands.parties.keys import PROVIDER_OPTIONS
from pfxlab.scenarios.commands.ready_file import READY_FILE

_DATA = options.data("The connector's own folder: identity and event log.")


_JSON = options.as_json()


@click.group(cls=suggest.Group)
def connector() -> None:
    """Enrol certificate connectors in a running lab and run them."""


@connector.command(name="enroll")
@_DATA
@READY_FILE
@click.option("--user", help="Administrator's UPN; by default the lab's administrator.")
@click.option("--password-file", type=FILE, help="File whose first line is that user's password.")
@click.option("--name", default="PFX Certificate Connector", show_default=True, help="Display name.")
@click.option("--machine", default="LAB-SERVER", show_default=True, help="Machine name.")
@_JSON
def enroll_(
    data: Path | None, ready_file: Path | None, user: str | None, password_file: Path | None, name: str, machine: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Enrol as an Intune or Global Administrator; other accounts are refused."""
    from pfxlab.scenarios.commands.parties import connector_service as work

    work.enroll_(data, ready_file, user, password_file, name, machine, as_json)


def _proxy(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Let an outbound proxy pass that can be one; what is refused is not repeated, it may hold a password."""
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        usable = parts.scheme == "http" and bool(parts.hostname) and parts.port is not None
    except ValueError:
        usable = False
    if not usable:
        raise click.BadParameter("expected http://host:port, got something else.")
    return value


def _with_keys(command: Any) -> Any:
    for option in reversed(PROVIDER_OPTIONS):
        command = option(command)
    return click.option(
        "--provider", default=PROVIDER_NAME, show_default=True, help="Name of the HSM that --pkcs11 adds."
    )(command)


@connector.command()
@_DATA
@_with_keys
@click.option("--proxy", callback=_proxy, help="Outbound proxy, http://host:port.")
@click.option(
    "--report-version",
    default=VERSION,
    show_default=True,
    help="Version to report, for example an old one that causes warnings.",
)
@click.option("--batch", default=500, show_default=True, type=click.IntRange(1, 500), help="Requests per lease.")
@click.option(
    "--jobs",
    default=os.cpu_count() or 1,
    show_default="one for each core",
    type=click.IntRange(0, 256),
    help="Worker processes for large leases, each with its own HSM session; 0: threads only.",
)
def run(
    data: Path | None, provider: str, folder: Path | None, module: Path | None, token_label: str | None,
    pin_file: Path | None, proxy: str | None, report_version: str, batch: int,
    jobs: int,
) -> None:  # fmt: skip
    """Run until SIGTERM or Ctrl-C, then finish current work and return the rest to the queue."""
    from pfxlab.scenarios.commands.parties import connector_service as work

    work.run(data, provider, folder, module, token_label, pin_file, proxy, report_version, batch, jobs)


@connector.command()
@_DATA
@_JSON
def status(data: Path | None, as_json: bool) -> None:
    """Show the connector's identity, certificate lifetime and latest events."""
    from pfxlab.scenarios.commands.parties import connector_service as work

    work.status(data, as_json)


@connector.command(name="validate")
@_with_keys
@click.option("--file", "path", type=FILE, default=TEST_FILE, show_default=True, help="File with six fields per line.")
@_JSON
def validate_(
    provider: str, folder: Path | None, module: Path | None, token_label: str | None, pin_file: Path | None, path: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Check that this account can decrypt with its keys (the import module's on-premises validation)."""
    from pfxlab.scenarios.commands.parties import connector_service as work

    work.validate_(provider, folder, module, token_label, pin_file, path, as_json)
