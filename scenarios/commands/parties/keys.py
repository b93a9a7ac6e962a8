"""`pfxlab keys`: what Add-IntuneKspKey and the export and import cmdlets do, over any key storage provider."""

from collections.abc import Callable
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import click
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab import private_file
from pfxlab.connector_sim.errors import ConnectorError, HsmUnavailable, KeyStoreError
from pfxlab.connector_sim.keys import cng
from pfxlab.connector_sim.keys.installed import InstalledProviders, Place, SoftwarePlace, TokenPlace
from pfxlab.connector_sim.keys.provider import KeyInfo, KeyStorageProvider, Providers
from pfxlab.connector_sim.keys.software import PROVIDER_NAME
from pfxlab.emulator.wire.files.damaged import Damaged
from pfxlab.emulator.wire.files.key_pem import to_pem
from pfxlab.scenarios.commands import options, suggest
from pfxlab.scenarios.commands.common import COULD_NOT_RUN, FILE, NEW_FILE, USAGE, print_result, stop
from pfxlab.scenarios.user_folder import data_folder

P = ParamSpec("P")
R = TypeVar("R")
_SIZES: Final = suggest.Choice(["2048", "3072", "4096"])
_FORMAT: Final = suggest.Choice(["cng", "pem"])


def _option(*names: str, **settings: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    return click.option(*names, **settings)


PROVIDER_OPTIONS: Final = (
    _option(
        "--keys", "folder", type=click.Path(file_okay=False, path_type=Path), help="Folder of the software provider."
    ),
    _option("--pkcs11", "module", type=FILE, help="PKCS#11 module of the HSM that --provider names."),
    _option("--token", "token_label", help="Label of the HSM's token."),
    _option("--pin-file", type=FILE, help="File whose first line is the token's user PIN."),
)


def installed(
    provider: str, folder: Path | None, module: Path | None, token_label: str | None, pin_file: Path | None
) -> Providers:
    """Return the providers of this machine: the software provider, and an HSM under the given name when one is named.

    Raises:
        click.UsageError: an HSM without token or PIN file.

    """
    places: list[Place] = [SoftwarePlace(str((folder or data_folder() / "keys").absolute()))]
    if module is None and (token_label is not None or pin_file is not None):
        raise click.UsageError("--token and --pin-file need --pkcs11, the HSM's module.")
    if module is not None:
        if token_label is None or pin_file is None:
            raise click.UsageError("--pkcs11 needs --token and --pin-file as well.")
        if provider.casefold() == PROVIDER_NAME.casefold():
            raise click.UsageError("--pkcs11 needs --provider: the name that records call this HSM's provider by.")
        places.append(TokenPlace(provider, str(module.absolute()), token_label, str(pin_file.absolute())))
    try:
        return InstalledProviders(places)
    except ImportError:
        stop(COULD_NOT_RUN, "expected the package python-pkcs11, got none; install: pip install 'pfxlab[hsm]'")


@contextmanager
def refusals() -> Any:
    """End the command in one sentence when the key store refuses."""
    try:
        yield
    except Damaged as error:
        stop(COULD_NOT_RUN, str(error))
    except HsmUnavailable as error:
        stop(COULD_NOT_RUN, f"{error.code}: {error}")
    except ConnectorError as error:
        stop(USAGE, f"{error.code}: {error}")
    except OSError as error:
        if error.filename is None:
            # Not a file of the key store: the output cannot be written.
            raise
        stop(COULD_NOT_RUN, f"expected to read and write {error.filename}, got: {error.strerror}")


def _over_provider(
    command: Callable[Concatenate[KeyStorageProvider, P], None],
) -> Callable[..., None]:
    """Give a command its provider, from the options that all of these commands have."""

    @wraps(command)
    def run(
        provider: str, folder: Path | None, module: Path | None, token_label: str | None, pin_file: Path | None,
        *args: P.args, **kwargs: P.kwargs,
    ) -> None:  # fmt: skip
        with refusals():
            chosen = installed(provider, folder, module, token_label, pin_file).provider(provider)
            command(chosen, *args, **kwargs)

    shown: Callable[..., None] = run
    for option in reversed(PROVIDER_OPTIONS):
        shown = option(shown)
    return click.option("--provider", default=PROVIDER_NAME, show_default=True, help="Key storage provider.")(shown)


_NAME = click.option("--name", required=True, help="Name of the key container.")
_JSON = options.as_json()


@click.group(cls=suggest.Group)
def keys() -> None:
    """Create, list, export, import and remove the keys that PFX passwords are encrypted to."""


@keys.command()
@_over_provider
@_NAME
@click.option("--bits", type=_SIZES, default="2048", show_default=True, help="Size of the RSA key.")
@click.option("--make-exportable", is_flag=True, help="Allow the key to be exported; cannot be changed later.")
@_JSON
def add(ksp: KeyStorageProvider, name: str, bits: str, make_exportable: bool, as_json: bool) -> None:
    """Create a key (Add-IntuneKspKey)."""
    ksp.add(name, int(bits), exportable=make_exportable)
    text = (
        f"Created the key {name!r}, RSA-{bits}, in {ksp.name}.\nNext: pfxlab keys export-public --name {name!r} --out F"
    )
    print_result(
        {"provider": ksp.name, "name": name, "bits": int(bits), "exportable": make_exportable}, text, as_json=as_json
    )


@keys.command(name="list")
@_over_provider
@_JSON
def list_(ksp: KeyStorageProvider, as_json: bool) -> None:
    """List the keys of a provider."""
    found = ksp.list_keys()
    lines = [_line(key) for key in found]
    empty = f"No keys in {ksp.name}. Next: pfxlab keys add --name NAME"
    shown = [
        {"name": key.name, "bits": key.bits, "exportable": key.exportable}
        | ({} if key.damaged is None else {"damaged": str(key.damaged)})
        for key in found
    ]
    print_result(shown, "\n".join(lines) or empty, as_json=as_json)


def _line(key: KeyInfo) -> str:
    if key.damaged is not None:
        return f"{key.name}  DAMAGED  {key.damaged}"
    return f"{key.name}  RSA-{key.bits}{'  exportable' if key.exportable else ''}"


@keys.command(name="export-public")
@_over_provider
@_NAME
@click.option("--out", "path", type=NEW_FILE, required=True, help="File to write; must not exist.")
@click.option("--format", "form", type=_FORMAT, default="pem", show_default=True, help="RSAPUBLICBLOB or PEM.")
@_JSON
def export_public(ksp: KeyStorageProvider, name: str, path: Path, form: str, as_json: bool) -> None:
    """Write the public key, for the workstation that imports certificates (Export-IntunePublicKey)."""
    key = ksp.open(name).public_key()
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    data = cng.public_blob(key) if form == "cng" else key.public_bytes(serialization.Encoding.PEM, spki)
    _write(path, data)
    text = f"Wrote the public key of {name!r} to {path}.\nNext: pfxlab pfx import --public-key {path} --name {name!r} …"
    print_result({"file": str(path), "format": form, "bytes": len(data)}, text, as_json=as_json)


@keys.command(name="export-private")
@_over_provider
@_NAME
@click.option("--out", "path", type=NEW_FILE, required=True, help="File to write; must not exist.")
@click.option("--format", "form", type=_FORMAT, default="cng", show_default=True, help="RSAFULLPRIVATEBLOB or PEM.")
@_JSON
def export_private(ksp: KeyStorageProvider, name: str, path: Path, form: str, as_json: bool) -> None:
    """Write the private key, UNENCRYPTED, for another connector server (Export-IntunePrivateKey)."""
    key = ksp.open(name).private_key()
    data = cng.private_blob(key) if form == "cng" else to_pem(key)
    _write(path, data)
    text = (
        f"Wrote the private key of {name!r}, unencrypted, to {path}; only you may read it.\n"
        f"Next: on the other server pfxlab keys import --name {name!r} --file FILE, then delete the file."
    )
    print_result({"file": str(path), "format": form, "bytes": len(data)}, text, as_json=as_json)


@keys.command(name="import")
@_over_provider
@_NAME
@click.option("--file", "path", type=FILE, required=True, help="RSAFULLPRIVATEBLOB, RSAPRIVATEBLOB or PEM.")
@click.option("--make-exportable", is_flag=True, help="Allow the key to be exported again.")
@_JSON
def import_(ksp: KeyStorageProvider, name: str, path: Path, make_exportable: bool, as_json: bool) -> None:
    """Import the private key of another server (Import-IntunePrivateKey)."""
    key = _read_private(path)
    ksp.store(name, key, exportable=make_exportable)
    text = f"Keeps {name!r}, RSA-{key.key_size}, in {ksp.name}.\nNext: delete {path}; it holds the key unencrypted."
    print_result({"provider": ksp.name, "name": name, "bits": key.key_size}, text, as_json=as_json)


@keys.command()
@_over_provider
@_NAME
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@_JSON
def remove(ksp: KeyStorageProvider, name: str, yes: bool, as_json: bool) -> None:
    """Delete a key; no connector can then process the records that name it."""
    ksp.open(name)
    if not yes and not click.confirm(f"Delete the key {name!r} of {ksp.name} for good?"):
        stop(USAGE, "Nothing was deleted.")
    ksp.remove(name)
    print_result({"removed": name}, f"Deleted {name!r} from {ksp.name}.", as_json=as_json)


def _write(path: Path, data: bytes) -> None:
    try:
        private_file.create(path, data)
    except FileExistsError:
        raise KeyStoreError(f"expected a new file, got {path}, which exists; choose another name") from None


def _read_private(path: Path) -> rsa.RSAPrivateKey:
    """Return the key of a file, by what is in it: PEM, else a CNG blob.

    Raises:
        KeyStoreError: neither, or no RSA key.

    """
    data = path.read_bytes()
    if b"-----BEGIN" not in data:
        try:
            return cng.load_private(data)
        except cng.BlobError as error:
            raise KeyStoreError(f"{path}: {error}") from None
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError):
        raise KeyStoreError(f"{path}: expected an unencrypted PEM private key, got something else") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyStoreError(f"{path}: expected an RSA key, got {type(key).__name__}")
    return key
