"""Runs a lab for `pfxlab up` and `pfxlab exec`."""

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from pfxlab.connector_sim.errors import ConnectorError
from pfxlab.device_sim.errors import EnrollmentRefused, SessionFailed
from pfxlab.device_sim.keys import generate
from pfxlab.emulator.config import Config
from pfxlab.emulator.server import PortTaken
from pfxlab.emulator.wire.files.damaged import Damaged
from pfxlab.scenarios import ending
from pfxlab.scenarios.commands.common import COULD_NOT_RUN, USAGE, print_json, stop
from pfxlab.scenarios.control.open_lab import open_lab
from pfxlab.scenarios.ending import ENDING
from pfxlab.scenarios.lab.config_file import ConfigProblem, read_config
from pfxlab.scenarios.lab.key_cache import kept_keys, lay_out
from pfxlab.scenarios.lab.lab import DataUnusable, Lab
from pfxlab.scenarios.lab.ready_file import environment, ready, remove_ready_file, write_ready_file
from pfxlab.scenarios.lab.running_labs import VARIABLE, announced


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
    """Do what the command says."""

    config = replace(_config(config_file, seed, explain=explain), reports=reports)
    if ready_file is not None and not ready_file.resolve().parent.is_dir():
        raise click.UsageError(f"--ready-file: expected a folder {ready_file.parent} that exists, got none.")

    async def serve(folder: Path) -> None:
        lab = Lab(folder, config)
        stopped = _stop_event()
        async with open_lab(lab, parts, port):
            facts = ready(lab)
            _show_damaged(lab)
            _show_overruled(lab)
            with _written(ready_file, facts) as (place, found_by):
                _announce(facts, parts, place, found_by, as_json=as_json)
                await stopped.wait()

    _run_over(data, serve)


def _show_overruled(lab: Lab) -> None:
    """Say which switches of the data folder the configuration has overruled."""
    for name, kept in lab.cloud.kept.overruled.items():
        now = getattr(lab.cloud.config.switches, name)
        click.echo(f"The configuration sets the switch {name} to {now}; it was set to {kept} before.", err=True)


def _show_damaged(lab: Lab) -> None:
    for entry in lab.damaged():
        click.echo(f"Damaged {entry.kind} {entry.name}: {entry.problem}. Everything else goes on.", err=True)


@contextlib.contextmanager
def _written(ready_file: Path | None, facts: dict[str, Any]) -> Iterator[tuple[Path | None, str]]:
    """Keep a ready file while a lab runs; yield where it is, if anywhere, and how further commands find the lab."""
    if ready_file is not None:
        write_ready_file(ready_file, facts)
        try:
            yield (
                ready_file,
                f"Further commands of pfxlab find this lab by --ready-file {ready_file}, or by {VARIABLE}.",
            )
        finally:
            remove_ready_file(ready_file, facts["control_token"])
        return
    with contextlib.ExitStack() as kept:
        try:
            place = kept.enter_context(announced(facts))
        except OSError as error:
            # A home that cannot be written is no reason not to serve.
            yield (
                None,
                f"Further commands do not find this lab, no ready file could be written: {error}; see --ready-file.",
            )
        else:
            yield place, "Other pfxlab commands find this lab automatically while no other lab is running."


def _config(path: Path | None, seed: int | None, *, explain: bool = False) -> Config:
    try:
        return read_config(path, seed, explain=explain)
    except ConfigProblem as problem:
        stop(USAGE, str(problem))


def _run_over(data: Path | None, serve: Callable[[Path], Coroutine[None, None, None]]) -> None:
    """Run a lab over a folder, or over a temporary one."""
    try:
        if data is not None:
            data.mkdir(parents=True, exist_ok=True, mode=0o700)
            ending.run(serve(data))
        else:
            with tempfile.TemporaryDirectory(prefix="pfxlab-") as folder:
                # A lab whose folder goes when it ends needs no keys of its own.
                lay_out(Path(folder))
                ending.run(serve(Path(folder)))
    except (
        PortTaken, OSError, DataUnusable, Damaged, sqlite3.Error, ConnectorError, EnrollmentRefused, SessionFailed,
    ) as error:  # fmt: skip
        stop(COULD_NOT_RUN, f"The lab could not run: {error}")


def _pass_on_signals(process: asyncio.subprocess.Process) -> None:
    """Let the command, not us, decide what a signal means; we end when it has."""

    def pass_on(number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)

    for number in ENDING:
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, pass_on, number)
    # Ctrl-C reaches the command by itself, it belongs to the same terminal.
    with contextlib.suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)


def _stop_event() -> asyncio.Event:
    event, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Windows has no signal handlers in its event loop; Ctrl-C raises Interrupted there.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, event.set)
    return event


def _announce(
    facts: dict[str, Any], parts: tuple[str, ...], place: Path | None, found_by: str, *, as_json: bool
) -> None:
    if as_json:
        print_json(facts)
        return
    running = " with " + " and ".join(parts) if parts else ""
    click.echo(f"PFX Lab serves Graph and sign-in at {facts['graph_url']}{running} (loopback only, TEST ONLY).\n")
    for name, value in environment(facts, place).items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo(
        f"\nAdmin centre: {facts['admin_url']} (sign in as {facts['administrator']['upn']}, see the ready file)."
    )
    click.echo(found_by)
    click.echo("Next: paste these lines into the shell your tool runs in. Ctrl-C ends the lab.")
    sys.stdout.flush()


def exec_command(
    data: Path | None, parts: tuple[str, ...], config_file: Path | None, seed: int | None, command: tuple[str, ...]
) -> None:
    """Do what the command says."""
    codes: list[int] = []
    config = _config(config_file, seed)

    async def serve(folder: Path) -> None:
        lab = Lab(folder, config)
        lab.new_key = keys
        async with open_lab(lab, parts) as world:
            world.driven_by_command = True
            _show_damaged(lab)
            _show_overruled(lab)
            facts = ready(lab)
            ready_file = folder / "operator" / "ready.json"
            write_ready_file(ready_file, facts)
            variables = {**os.environ, **environment(facts, ready_file)}
            process = await asyncio.create_subprocess_exec(*command, env=variables)
            _pass_on_signals(process)
            codes.append(await process.wait())

    if shutil.which(command[0]) is None:
        stop(USAGE, f"expected a command on the path, got {command[0]!r}, which is not found")
    with kept_keys(24) if data is None else nullcontext(generate) as keys:
        _run_over(data, serve)
    code = codes[0]
    sys.exit(code if code >= 0 else 128 - code)
