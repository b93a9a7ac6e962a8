"""What `pfxlab pfx` does."""

import base64
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab import private_file
from pfxlab.connector_sim.bulk_import import ImportResult, Item, import_all
from pfxlab.connector_sim.cmdlets import EncryptionKey, GraphClient, new_user_pfx_certificate
from pfxlab.connector_sim.errors import ConnectorError, PaddingUnsupported, PfxProblem
from pfxlab.connector_sim.keys import cng
from pfxlab.connector_sim.keys.software import PROVIDER_NAME
from pfxlab.connector_sim.pfx import check_usable, open_pfx, purpose_of
from pfxlab.emulator.clock import WallClock
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme, parse_member
from pfxlab.emulator.wire.numbers import counted
from pfxlab.scenarios import ending, terminal
from pfxlab.scenarios.commands.common import (
    COULD_NOT_RUN,
    USAGE,
    VERDICT_FAILED,
    first_line,
    print_json,
    print_result,
    secret,
    stop,
)
from pfxlab.scenarios.commands.parties.graph_access import token_file, with_client
from pfxlab.scenarios.commands.parties.manifest import MANIFEST_COLUMNS
from pfxlab.scenarios.commands.ready_file import find_ready_file, ready_facts
from pfxlab.scenarios.nearest import near


def token_set(
    graph_url: str, authority_url: str, client_id: str, client_secret_file: Path | None, user: str | None,
    password_file: Path | None, ca_file: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Do what the command says."""
    if not graph_url.startswith("https://"):
        raise click.UsageError("--graph-url: expected an https address.")
    if client_secret_file is not None:
        form = {"grant_type": "client_credentials", "client_secret": secret(client_secret_file)}
    elif user is not None and password_file is not None:
        form = {"grant_type": "password", "username": user, "password": secret(password_file)}
    else:
        raise click.UsageError("expected --client-secret-file, or --user and --password-file.")

    async def sign_in() -> str:
        async with GraphClient(graph_url, authority_url, ca_file) as client:
            return await client.sign_in({**form, "client_id": client_id})

    try:
        got = ending.run(sign_in())
    except (ConnectorError, OSError) as error:
        stop(COULD_NOT_RUN, f"Sign-in was refused: {error}")
    kept = {"graph_url": graph_url, "ca_file": None if ca_file is None else str(ca_file.resolve()), "token": got}
    private_file.replace(token_file(), json.dumps(kept).encode())
    print_result(
        {"token": "kept"}, f"Signed in; the token is stored in {token_file()}.\nNext: pfxlab pfx get", as_json=as_json
    )


def token_remove(as_json: bool) -> None:
    """Do what the command says."""
    token_file().unlink(missing_ok=True)
    print_result({"token": "removed"}, "No token is stored.", as_json=as_json)


def _public_key(path: Path) -> rsa.RSAPublicKey:
    data = path.read_bytes()
    try:
        key = serialization.load_pem_public_key(data) if b"-----BEGIN" in data else cng.load_public(data)
    except ValueError as error:
        stop(USAGE, f"{path}: expected a PEM public key or an RSAPUBLICBLOB, got neither ({error})")
    if not isinstance(key, rsa.RSAPublicKey):
        stop(USAGE, f"{path}: expected an RSA key, got {type(key).__name__}")
    return key


def _encryption_key(
    ready_file: Path | None, path: Path | None, provider: str | None, name: str | None
) -> EncryptionKey:
    if path is not None:
        # A file of one's own says nothing about the name of its key, and the lab's would be a wrong one.
        if name is None:
            raise click.UsageError("--public-key needs --name: what the connector calls that key.")
        return EncryptionKey(_public_key(path), provider or PROVIDER_NAME, name)
    lab = find_ready_file(ready_file)
    if lab is None:
        raise click.UsageError("expected a running lab, or --public-key and --name of a key that a connector can use.")
    facts = ready_facts(lab)
    found, its_provider, its_name = facts["connector_public_key_file"], facts["provider_name"], facts["key_name"]
    return EncryptionKey(_public_key(Path(found)), provider or its_provider, name or its_name)


def _record(path: Path, password: str, upn: str, purpose: str, padding: str, key: EncryptionKey) -> dict[str, Any]:
    """Return a record to import; what connector or devices will make of it is for the service to find out.

    Raises:
        PfxProblem, PaddingUnsupported, ValueError: the file, its password or a name cannot be used.

    """
    opened = open_pfx(path.read_bytes(), password)
    try:
        check_usable(opened, password)
    except PfxProblem as problem:
        click.echo(f"WARNING {path}: {problem}", err=True)
    if opened.chain_length:
        click.echo(
            f"WARNING {path}: it contains {opened.chain_length} further certificates; iPhones refuse that.", err=True
        )
    suggested = purpose_of(opened.certificate)
    meant = suggested if purpose == "auto" else parse_member(IntendedPurpose, purpose)
    mail = (IntendedPurpose.smimeEncryption, IntendedPurpose.smimeSigning)
    if meant in mail and meant is not suggested:
        click.echo(f"WARNING {path}: its key usage suggests {suggested.name}, not {meant.name}.", err=True)
    return new_user_pfx_certificate(opened, password, upn, meant, key, parse_member(PaddingScheme, padding))


def base64_(path: Path, as_json: bool) -> None:
    """Do what the command says."""
    text = base64.b64encode(path.read_bytes()).decode("ascii")
    print_result({"base64": text}, text, as_json=as_json)


def new(
    path: Path, password_file: Path, user: str, purpose: str, padding: str, public_key: Path | None,
    provider: str | None, name: str | None, ready_file: Path | None,
) -> None:  # fmt: skip
    """Do what the command says."""
    key = _encryption_key(ready_file, public_key, provider, name)
    try:
        print_json(_record(path, secret(password_file), user, purpose, padding, key))
    except (PfxProblem, PaddingUnsupported, ValueError) as error:
        stop(USAGE, f"{path}: {error}")


def user_id(upn: str, ready_file: Path | None, as_json: bool) -> None:
    """Do what the command says."""
    found = with_client(ready_file, lambda client: client.user_id(upn))
    print_result({"id": found}, found, as_json=as_json)


def _split(pairs: tuple[str, ...]) -> list[tuple[str, str]]:
    split = [pair.rpartition(":")[::2] for pair in pairs]
    if not all(upn and thumbprint for upn, thumbprint in split):
        raise click.UsageError("--pair: expected UPN:THUMBPRINT.")
    return split


async def _chosen(client: GraphClient, users: tuple[str, ...], pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    found = [record for user in users for record in await client.get_user_pfx_certificates(user)]
    return found + [one for upn, thumb in pairs for one in await client.get_user_pfx_certificates(upn, thumb)]


def get(users: tuple[str, ...], pairs: tuple[str, ...], ready_file: Path | None, as_json: bool) -> None:
    """Do what the command says."""
    wanted = _split(pairs)

    async def work(client: GraphClient) -> list[dict[str, Any]]:
        return await (_chosen(client, users, wanted) if users or wanted else client.get_user_pfx_certificates())

    found = with_client(ready_file, work)
    lines = [f"{r['userPrincipalName']}  {r['thumbprint']}  {r['intendedPurpose']}  {r['keyName']}" for r in found]
    print_result(found, "\n".join(lines) or "No records. Next: pfxlab pfx import", as_json=as_json)


def remove(
    users: tuple[str, ...], pairs: tuple[str, ...], ids: tuple[str, ...], ready_file: Path | None, as_json: bool
) -> None:
    """Do what the command says."""
    wanted = _split(pairs)
    if not (users or wanted or ids):
        raise click.UsageError("expected --user, --pair or --id.")

    async def work(client: GraphClient) -> tuple[list[str], list[str]]:
        """Return the ids removed, and what was named and is not there."""
        found: list[str] = []
        absent: list[str] = []
        for upn in users:
            # A user without records has none too many.
            found += [record["id"] for record in await client.get_user_pfx_certificates(upn)]
        for upn, thumbprint in wanted:
            records = await client.get_user_pfx_certificates(upn, thumbprint)
            found += [record["id"] for record in records]
            absent += [] if records else [f"{upn}:{thumbprint}"]
        for record_id in ids:
            # Graph answers the deletion of nothing like any other (docs/divergences.md, delete_missing): look before.
            there = await client.has_user_pfx_certificate(record_id)
            (found if there else absent).append(record_id)
        removed = list(dict.fromkeys(found))
        for record_id in removed:
            await client.remove_user_pfx_certificate(record_id)
        return removed, absent

    removed, absent = with_client(ready_file, work)
    lines = [f"Removed {counted(len(removed), 'record')}.", *(f"NOT THERE {one}" for one in absent)]
    print_result({"removed": removed, "absent": absent}, "\n".join(lines), as_json=as_json)
    if absent:
        raise SystemExit(VERDICT_FAILED)


def import_(
    paths: tuple[Path, ...], password_file: Path | None, user: str | None, manifest: Path | None, purpose: str,
    padding: str, update: bool, progress_file: Path | None, jobs: int, public_key: Path | None, provider: str | None,
    name: str | None, ready_file: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Do what the command says."""
    rows = _rows(paths, password_file, user, purpose, padding, manifest)
    key = _encryption_key(ready_file, public_key, provider, name)
    remembered = _Resume(progress_file, update=update)
    items, failed = _items(rows, key)

    async def work(client: GraphClient) -> list[ImportResult]:
        outcomes = []
        with terminal.stages(quiet=as_json) as stage:
            report = stage("importing")
            async for outcome in import_all(
                client, items, WallClock(), update=update, at_once=jobs, done=remembered.knows
            ):
                remembered.note(outcome)
                outcomes.append(outcome)
                report(len(outcomes), len(items))
        return outcomes

    outcomes = with_client(ready_file, work) if items else []
    _report(outcomes, failed, len(items) - len(outcomes), as_json=as_json)


@dataclass(frozen=True)
class _Row:
    path: Path
    password_file: Path
    upn: str
    purpose: str
    padding: str


def _rows(
    paths: tuple[Path, ...], password_file: Path | None, user: str | None, purpose: str, padding: str,
    manifest: Path | None,
) -> list[_Row]:  # fmt: skip
    if paths and (password_file is None or user is None):
        raise click.UsageError("files need --password-file and --user; many users go into a --manifest.")
    rows = [_Row(path, password_file or path, user or "", purpose, padding) for path in paths]
    if manifest is not None:
        rows += _manifest_rows(manifest, purpose, padding)
    if not rows:
        raise click.UsageError("expected PFX files or a --manifest.")
    return rows


def _check_columns(manifest: Path, columns: Sequence[str]) -> None:
    unknown = next((column for column in columns if column not in MANIFEST_COLUMNS), None)
    if unknown is not None:
        got = f"{unknown[:40]!r}{near(unknown, MANIFEST_COLUMNS)}"
        stop(USAGE, f"{manifest}, line 1: expected the columns {', '.join(MANIFEST_COLUMNS)}, got {got}")
    twice = next((column for column in columns if list(columns).count(column) > 1), None)
    if twice is not None:
        stop(USAGE, f"{manifest}, line 1: expected each column once, got {twice!r} twice")


def _manifest_rows(manifest: Path, purpose: str, padding: str) -> list[_Row]:
    """Return the rows of a manifest, paths in it taken from its own folder; an unusable line ends the command."""
    rows, place = [], manifest.parent
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            _check_columns(manifest, reader.fieldnames or ())
            for number, line in enumerate(reader, 2):
                missing = [column for column in MANIFEST_COLUMNS[:3] if not line.get(column)]
                if missing:
                    stop(USAGE, f"{manifest}, line {number}: expected {', '.join(missing)}, got none")
                rows.append(
                    _Row(place / line["pfx"], place / line["password_file"], line["upn"],
                         line.get("purpose") or purpose, line.get("padding") or padding)
                )  # fmt: skip
    except (UnicodeDecodeError, csv.Error) as error:
        reason = "other bytes" if isinstance(error, UnicodeDecodeError) else str(error)
        stop(USAGE, f"{manifest}: expected CSV in UTF-8, got: {reason}")
    if not rows:
        stop(USAGE, f"{manifest}: expected a line for each PFX, got none")
    return rows


def _items(rows: list[_Row], key: EncryptionKey) -> tuple[list[Item], list[dict[str, str]]]:
    """Return the records of the files that can be used, and why the others cannot."""
    items, failed = [], []
    for row in rows:
        try:
            password = first_line(row.password_file)
            record = _record(row.path, password, row.upn, row.purpose, row.padding, key)
            items.append(Item(str(row.path), record))
        except (PfxProblem, PaddingUnsupported, ValueError) as error:
            failed.append({"file": str(row.path), "upn": row.upn, "reason": str(error)})
        except OSError as error:
            failed.append({"file": str(row.path), "upn": row.upn, "reason": f"expected a file, got: {error.strerror}"})
    return items, failed


class _Resume:
    """Remembers across runs what Graph has: a line for each record, what was done and its user and thumbprint."""

    def __init__(self, path: Path | None, *, update: bool) -> None:
        self._path = path
        self._enough = ("updated",) if update else ("created", "updated", "there")
        self._known: set[str] = set()
        if path is not None:
            try:
                # Opened for writing before anything is imported: what cannot be remembered is not begun.
                with path.open("a+", encoding="utf-8") as lines:
                    lines.seek(0)
                    text = lines.read()
                    whole, _, torn = text.rpartition("\n")
                    self._known = set(whole.splitlines())
                    if torn:
                        # A run was killed while it wrote: what the line says is done again, and begins a line.
                        lines.write("\n")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "other bytes"
                stop(COULD_NOT_RUN, f"expected to read and write {path} as text, got: {reason}")

    def knows(self, item: Item) -> bool:
        """Return whether an earlier run did it."""
        return any(f"{state} {item.key}" in self._known for state in self._enough)

    def note(self, outcome: ImportResult) -> None:
        """Remember a record that is there now."""
        if self._path is not None and outcome.state != "failed":
            with self._path.open("a", encoding="utf-8") as lines:
                lines.write(f"{outcome.state} {outcome.item.key}\n")


def _report(outcomes: list[ImportResult], failed: list[dict[str, str]], skipped: int, *, as_json: bool) -> None:
    counts = {state: sum(o.state == state for o in outcomes) for state in ("created", "updated", "there")}
    failures = failed + [
        {"file": o.item.source, "upn": str(o.item.record["userPrincipalName"]), "reason": o.reason or ""}
        for o in outcomes
        if o.state == "failed"
    ]
    result = {**counts, "skipped": skipped, "failed": failures}
    lines = [f"{name}: {number}" for name, number in {**counts, "skipped": skipped}.items() if number]
    lines += [f"FAILED {one['file']} for {one['upn']}: {one['reason']}" for one in failures]
    lines += (
        ["Next: fix what failed and run the same command again, with --progress-file FILE for many files."]
        if failures
        else []
    )
    print_result(result, "\n".join(lines) or "Nothing to do.", as_json=as_json)
    if failures:
        raise SystemExit(VERDICT_FAILED)
