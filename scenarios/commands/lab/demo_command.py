"""What `pfxlab demo` does: own certificates are read, the run is shown."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import click
from rich.console import Console

from pfxlab.connector_sim.errors import ConnectorError, PfxProblem
from pfxlab.device_sim.errors import EnrollmentRefused, SessionFailed
from pfxlab.emulator.config import Config
from pfxlab.emulator.wire.ids import check_upn
from pfxlab.scenarios import ending, terminal
from pfxlab.scenarios.commands.common import COULD_NOT_RUN, USAGE, VERDICT_FAILED, print_json, secret, stop
from pfxlab.scenarios.commands.lab.demo_run import Demo, Material, Result, Sabotage, own_material
from pfxlab.scenarios.commands.progress import Progress
from pfxlab.scenarios.lab.lab import DataUnusable
from pfxlab.scenarios.mail.openssl import OpenSslFailed, OpenSslMissing


def _own(pfx_file: Path, password_file: Path | None, user: str | None, *, allow_expired: bool) -> Material:
    if password_file is None or user is None:
        raise click.UsageError("--pfx needs --password-file and --user as well.")
    password = secret(password_file)
    try:
        now = datetime.now(UTC)
        return own_material(pfx_file.read_bytes(), password, allow_expired=allow_expired, lab_now=now)
    except PfxProblem as problem:
        stop(USAGE, f"{pfx_file}: {problem}")


def demo(
    pfx_file: Path | None,
    password_file: Path | None,
    user: str | None,
    allow_expired: bool,
    sabotage: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Do what the command says."""
    if pfx_file is None and password_file is not None:
        raise click.UsageError("--password-file needs --pfx.")
    if user is not None:
        try:
            check_upn(user)
        except ValueError as error:
            raise click.UsageError(f"--user: {error}.") from None
    material = None if pfx_file is None else _own(pfx_file, password_file, user, allow_expired=allow_expired)
    console = terminal.console()
    if not as_json:
        console.print(f"PFX Lab demo, seed {seed}: PFX → Graph → Intune → connector → device → opened mail\n")
    try:
        progress = Progress(console, quiet=as_json)
        name = user or f"user@{Config().domain}"
        result = ending.run(Demo(progress, name, material, cast("Sabotage | None", sabotage), seed).run())
    except (
        OpenSslMissing,
        OpenSslFailed,
        ConnectorError,
        SessionFailed,
        EnrollmentRefused,
        DataUnusable,
        OSError,
    ) as error:
        stop(COULD_NOT_RUN, f"The demo could not run: {error}")
    if as_json:
        print_json(result.to_json())
    else:
        _show(console, result, sabotage)
    sys.exit(0 if result.passed else VERDICT_FAILED)


def _show(console: Console, result: Result, sabotage: str | None) -> None:
    rows, styles = [], []
    for row in result.deliveries:
        proof = _proof_of(result, row)
        rows.append((row["device"], row["certificate"], row["state"], proof))
        styles.append("" if row["state"] == "installed" and proof != "failed" else "red")
    columns = ("device", "certificate", "delivery", "proof")
    console.print("\nResult by device")
    terminal.print_rows(console, terminal.Rows(columns, rows, styles=styles))
    secrets_line = "FOUND IN THE CLOUD" if result.findings else "not in the cloud's data, not in any log"
    skipped = f"; not searched for: {', '.join(result.unsearched)}" if result.unsearched else ""
    console.print(f"passwords and private keys: {secrets_line} ({result.searched:,} bytes searched{skipped})")
    if result.passed:
        console.print("\n[bold green]PASSED[/]  Next: [bold]pfxlab up[/] keeps a lab running for your own tool,")
        console.print(
            "        [bold]pfxlab demo --pfx FILE --password-file FILE --user UPN[/] sends your own certificate."
        )
        return
    console.print("\n[bold red]FAILED[/]")
    for reason in result.reasons():
        console.print(f"  {reason}", markup=False)
    if sabotage is not None:
        console.print(f"  (expected with --break {sabotage})")


def _proof_of(result: Result, row: dict[str, str]) -> str:
    wanted = "signs a mail" if row["certificate"] == "signing" else f"opens mail to {row['certificate']}"
    mine = [p for p in result.proofs if p.device == row["device"]]
    proof = next((p for p in mine if p.name == wanted), None) or next(iter(mine), None)
    if proof is None:
        return "none"
    return f"{proof.name.partition(' to ')[0]}: {proof.detail}" if proof.passed else "failed"
