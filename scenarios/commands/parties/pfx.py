"""`pfxlab pfx`: what the PFXImport cmdlets do, over the lab or any other Graph."""

from pathlib import Path
from typing import Any, Final

import click

from pfxlab.connector_sim.keys.padding import SUPPORTED
from pfxlab.connector_sim.keys.software import PROVIDER_NAME
from pfxlab.emulator.wire.enums import IntendedPurpose
from pfxlab.scenarios.commands import options, suggest
from pfxlab.scenarios.commands.common import (
    FILE,
    NEW_FILE,
)
from pfxlab.scenarios.commands.parties.manifest import MANIFEST_COLUMNS
from pfxlab.scenarios.commands.ready_file import READY_FILE

_JSON = options.as_json()


_PURPOSES: Final = suggest.Choice(["auto", *(member.name for member in IntendedPurpose)])


_PADDINGS: Final = suggest.Choice([scheme.name for scheme in SUPPORTED])


@click.group(cls=suggest.Group)
def pfx() -> None:
    """Import PFX certificates through Graph; list, update and remove imported ones."""


@pfx.group()
def token() -> None:
    """Store a token for later commands (Set- and Remove-IntuneAuthenticationToken)."""


@token.command(name="set")
@click.option("--graph-url", required=True, help="For example https://graph.microsoft.com.")
@click.option("--authority-url", required=True, help="Sign-in address with the tenant.")
@click.option("--client-id", required=True, help="Application id.")
@click.option("--client-secret-file", type=FILE, help="File with the application's secret.")
@click.option("--user", help="Administrator's UPN, instead of a secret.")
@click.option("--password-file", type=FILE, help="File with that user's password.")
@click.option("--ca-file", type=FILE, help="The only CA to trust.")
@_JSON
def token_set(
    graph_url: str, authority_url: str, client_id: str, client_secret_file: Path | None, user: str | None,
    password_file: Path | None, ca_file: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Sign in by secret or password, and store the token in a file that only you can read."""
    from pfxlab.scenarios.commands.parties import pfx_files as work

    work.token_set(graph_url, authority_url, client_id, client_secret_file, user, password_file, ca_file, as_json)


@token.command(name="remove")
@_JSON
def token_remove(as_json: bool) -> None:
    """Delete the stored token."""
    from pfxlab.scenarios.commands.parties import pfx_files as work

    work.token_remove(as_json)


_KEY = (
    click.option("--public-key", type=FILE, help="Public key file; without it the lab's."),
    click.option("--provider", help=f"Provider of the connector's key; without it the lab's, or {PROVIDER_NAME}."),
    click.option("--name", help="Name of the connector's key."),
)


def _with_key(command: Any) -> Any:
    for option in reversed(_KEY):
        command = option(command)
    return command


@pfx.command(name="base64")
@click.argument("path", type=FILE)
@_JSON
def base64_(path: Path, as_json: bool) -> None:
    """Print a PFX as base64 (ConvertTo-IntuneBase64EncodedPfxCertificate)."""
    from pfxlab.scenarios.commands.parties import pfx_files as work

    work.base64_(path, as_json)


@pfx.command()
@click.argument("path", type=FILE)
@click.option("--password-file", type=FILE, required=True, help="File whose first line is the PFX password.")
@click.option("--user", required=True, help="User principal name of the user to import for.")
@click.option("--purpose", type=_PURPOSES, default="auto", show_default=True, help="Intended purpose.")
@click.option(
    "--padding", type=_PADDINGS, default="oaepSha512", show_default=True, help="How the password is encrypted."
)
@_with_key
@READY_FILE
def new(
    path: Path, password_file: Path, user: str, purpose: str, padding: str, public_key: Path | None,
    provider: str | None, name: str | None, ready_file: Path | None,
) -> None:  # fmt: skip
    """Print a PFX's record as JSON, password encrypted, without calling Graph (New-IntuneUserPfxCertificate)."""
    from pfxlab.scenarios.commands.parties import pfx_files as work

    work.new(path, password_file, user, purpose, padding, public_key, provider, name, ready_file)


@pfx.command(name="user-id")
@click.argument("upn")
@READY_FILE
@_JSON
def user_id(upn: str, ready_file: Path | None, as_json: bool) -> None:
    """Print a user's directory id (Get-IntuneUserId)."""
    from pfxlab.scenarios.commands.parties import pfx_files as work

    work.user_id(upn, ready_file, as_json)


_USERS = click.option("--user", "users", multiple=True, help="All records of this user; can be repeated.")


_PAIRS = click.option("--pair", "pairs", multiple=True, metavar="UPN:THUMBPRINT", help="One record; can be repeated.")


@pfx.command()
@_USERS
@_PAIRS
@READY_FILE
@_JSON
def get(users: tuple[str, ...], pairs: tuple[str, ...], ready_file: Path | None, as_json: bool) -> None:
    """List all records, those of users, or single ones (Get-IntuneUserPfxCertificate)."""
    from pfxlab.scenarios.commands.parties import pfx_files as work

    work.get(users, pairs, ready_file, as_json)


@pfx.command()
@_USERS
@_PAIRS
@click.option("--id", "ids", multiple=True, help="A record by id; can be repeated.")
@READY_FILE
@_JSON
def remove(
    users: tuple[str, ...], pairs: tuple[str, ...], ids: tuple[str, ...], ready_file: Path | None, as_json: bool
) -> None:
    """Remove records of users, single ones, or by id (Remove-IntuneUserPfxCertificate)."""
    from pfxlab.scenarios.commands.parties import pfx_files as work

    work.remove(users, pairs, ids, ready_file, as_json)


@pfx.command(name="import")
@click.argument("paths", type=FILE, nargs=-1)
@click.option("--password-file", type=FILE, help="File whose first line is the password of PATHS.")
@click.option("--user", help="User principal name to import PATHS for.")
@click.option(
    "--manifest", type=FILE, help=f"CSV with the columns {', '.join(MANIFEST_COLUMNS)}; the last two are optional."
)
@click.option("--purpose", type=_PURPOSES, default="auto", show_default=True, help="Intended purpose.")
@click.option("--padding", type=_PADDINGS, default="oaepSha512", show_default=True, help="How passwords are encrypted.")
@click.option("--update", is_flag=True, help="Change existing records instead of importing new ones.")
@click.option("--progress-file", type=NEW_FILE, help="File that records progress, so that another run can continue.")
@options.jobs(4, 32, "Parallel requests.")
@_with_key
@READY_FILE
@_JSON
def import_(
    paths: tuple[Path, ...], password_file: Path | None, user: str | None, manifest: Path | None, purpose: str,
    padding: str, update: bool, progress_file: Path | None, jobs: int, public_key: Path | None, provider: str | None,
    name: str | None, ready_file: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Import one or many PFX files (Import-IntuneUserPfxCertificate); a file that fails does not stop the others."""
    from pfxlab.scenarios.commands.parties import pfx_files as work

    work.import_(
        paths,
        password_file,
        user,
        manifest,
        purpose,
        padding,
        update,
        progress_file,
        jobs,
        public_key,
        provider,
        name,
        ready_file,
        as_json,
    )
