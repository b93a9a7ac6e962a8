"""Replays the run in a bundle."""

import asyncio
import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from pfxlab import private_file
from pfxlab.emulator.config import Config
from pfxlab.emulator.wire.numbers import counted
from pfxlab.emulator.wire.text import printable
from pfxlab.scenarios import bounded_file, ending
from pfxlab.scenarios.commands.common import COULD_NOT_RUN, USAGE, VERDICT_FAILED, can_be_written, stop
from pfxlab.scenarios.commands.lab.control_client import ControlClient, ControlRefused, NoLab, facts_of
from pfxlab.scenarios.commands.ready_file import require_ready_file
from pfxlab.scenarios.control import bundle
from pfxlab.scenarios.control.bundle import BadBundle, Bundle
from pfxlab.scenarios.control.open_lab import open_lab
from pfxlab.scenarios.lab.config_file import config_of
from pfxlab.scenarios.lab.key_cache import lay_out
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.ready_file import environment, ready, write_ready_file
from pfxlab.scenarios.scenario import runner

_POLL_SECONDS: Final = 0.02
_TOOL_ENDS_WITHIN = 10.0


def bundle_command(ready_file: Path | None, target: Path) -> None:
    """Do what the command says."""
    can_be_written(target)
    try:
        data = ControlClient(facts_of(require_ready_file(ready_file))).send("GET", "/bundle")
    except NoLab as error:
        stop(COULD_NOT_RUN, f"The bundle could not be made: {error}")
    private_file.replace(target, data)
    made = bundle.unpack(data)
    entries = counted(len(made.journal), "journal entry", "journal entries")
    requests = counted(len(made.asked), "request")
    click.echo(f"{target}: {entries}, {requests} to the control API.")
    click.echo(f"Next: pfxlab replay {target} -- COMMAND repeats the run with your tool and compares the journals.")


def replay(file: Path, journal: Path | None, command: Sequence[str], *, command_asks: bool) -> None:
    """Do what the command says."""
    can_be_written(journal)
    command = command[1:] if command[:1] == ("--",) else command
    try:
        recorded = bundle.unpack(bounded_file.read(file, bundle.LARGEST))
        if recorded.kind == "scenario":
            replayed = _scenario(recorded)
        else:
            replayed = _lab(recorded, command, repeat=not command_asks)
    except (BadBundle, bounded_file.TooLarge) as error:
        stop(USAGE, f"{file}: {error}")
    except NoLab as error:
        stop(COULD_NOT_RUN, f"The replay could not go on: {error}")
    if journal is not None:
        journal.write_text("".join(f"{line}\n" for line in replayed), "utf-8")
    difference = bundle.compare(recorded.journal, replayed)
    if difference is None:
        click.echo(f"The same: {len(replayed)} journal entries, byte for byte apart from key material.")
        return
    click.echo(f"Another way from journal entry {difference.line} on:")
    click.echo(printable(f"  recorded  {difference.recorded}\n  now       {difference.replayed}"))
    raise SystemExit(VERDICT_FAILED)


def _scenario(recorded: Bundle) -> list[str]:
    scenario = bundle.scenario_of(recorded)
    click.echo(f"Replaying the scenario {scenario.name}, seed {recorded.start['seed']}: {scenario.title}")
    (run,) = runner.run_all([scenario], int(recorded.start["seed"]), lambda _: lambda _: None, lambda _: None)
    was = recorded.end.get("outcome")
    click.echo(f"{run.outcome}{f', {run.why}' if run.why else ''} (recorded: {was})")
    return bundle.canonical(run.journal)


def _config(start: Mapping[str, Any]) -> Config:
    if start.get("tenants"):
        # A bundle has no secrets, so their sign-ins cannot be repeated.
        raise BadBundle("expected a run without configured tenants, got one; replay it with the tool and --config")
    try:
        made = config_of(switches=start["switches"])
    except ValueError as error:
        raise BadBundle(f"manifest.json: start/switches: {error}") from None
    return replace(
        made,
        seed=int(start["seed"]),
        domain=start["domain"],
        explain=start["explain"],
        auto_approve_upn=start["autoApproveUpn"],
    )


def _lab(recorded: Bundle, command: Sequence[str], *, repeat: bool) -> list[str]:
    if not command:
        raise BadBundle("expected the command that drove the recorded run: pfxlab replay FILE -- COMMAND")
    if shutil.which(command[0]) is None:
        stop(USAGE, f"expected a command on the path, got {command[0]!r}, which is not found")
    config = _config(recorded.start)
    asked = [one for one in recorded.asked if repeat and not one["byCommand"]]
    click.echo(f"Replaying a lab with seed {config.seed}: {' '.join(command)}")
    with tempfile.TemporaryDirectory(prefix="pfxlab-") as folder:
        lay_out(Path(folder))
        return ending.run(_replay(Path(folder), config, recorded, asked, command))


async def _replay(
    folder: Path, config: Config, recorded: Bundle, asked: Sequence[Mapping[str, Any]], command: Sequence[str]
) -> list[str]:
    lab = Lab(folder, config)
    async with open_lab(lab, tuple(recorded.start.get("parts", ()))) as world:
        world.driven_by_command = not asked
        facts = ready(lab)
        ready_file = folder / "operator" / "ready.json"
        write_ready_file(ready_file, facts)
        first = list(itertools.takewhile(lambda one: one["afterRequests"] == 0, asked))
        await _repeat_requests(facts, first, world.requests)
        repeating = asyncio.create_task(_repeat_requests(facts, asked[len(first) :], world.requests))
        variables = {**os.environ, **environment(facts, ready_file)}
        process = await asyncio.create_subprocess_exec(*command, env=variables)
        try:
            await process.wait()
        finally:
            await _end(process)
        repeating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await repeating
        return list(bundle.of_world(world).journal)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Stop a tool that still runs, because the replay was stopped; kill it if it does not end."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _TOOL_ENDS_WITHIN)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _repeat_requests(facts: Mapping[str, Any], asked: Sequence[Mapping[str, Any]], requests: Any) -> None:
    """Repeat requests to the control API, each after the same number of Graph requests as in the recorded run."""
    control = ControlClient(facts)
    for one in asked:
        while requests() < one["afterRequests"]:  # noqa: ASYNC110 - the tool sends them, in a process of its own
            await asyncio.sleep(_POLL_SECONDS)
        # A request that was refused is refused again.
        with contextlib.suppress(ControlRefused):
            await asyncio.to_thread(control.send, one["method"], quote(one["path"]), one["body"])
