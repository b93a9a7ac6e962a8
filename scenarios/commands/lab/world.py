"""`pfxlab world`: the verbs of the control API for a running lab, from a shell."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from pfxlab.emulator.faults.kinds import MATCHES
from pfxlab.emulator.faults.kinds import schema as fault_schema
from pfxlab.scenarios.commands.common import COULD_NOT_RUN, FILE, USAGE, stop
from pfxlab.scenarios.commands.lab.control_client import ControlClient, ControlRefused, NoLab, facts_of
from pfxlab.scenarios.yaml_file import read_yaml


@click.group()
@click.option("--ready-file", type=FILE, help="Ready file of the lab; without it the environment of `pfxlab exec`.")
@click.option("--json", "as_json", is_flag=True, help="Print answers as JSON and nothing else.")
@click.pass_context
def world(context: click.Context, ready_file: Path | None, *, as_json: bool) -> None:
    """Move a running lab: its clock, its faults, its state."""
    context.obj = (ready_file, as_json)


def _ask(context: click.Context, method: str, path: str, body: Any = None) -> Any:
    ready_file, as_json = context.obj
    try:
        answer = ControlClient(facts_of(ready_file)).call(method, path, body)
    except ControlRefused as error:
        stop(USAGE, str(error))
    except NoLab as error:
        stop(COULD_NOT_RUN, f"The lab could not be asked: {error}")
    if as_json:
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    return answer


def _tell(context: click.Context, *lines: str) -> None:
    if not context.obj[1]:
        for line in lines:
            click.echo(line)


@world.command()
@click.option("--advance", help="Let time pass, such as 1d12h, with all that is due in it; then it stands still.")
@click.option("--set", "moment", help="Put the clock to a moment such as 2026-03-01T08:00:00Z; nothing happens.")
@click.option("--freeze", is_flag=True, help="Let the clock stand still.")
@click.option("--resume", is_flag=True, help="Let it run on.")
@click.pass_context
def clock(context: click.Context, advance: str | None, moment: str | None, *, freeze: bool, resume: bool) -> None:
    """Show the lab's clock, or move it."""
    wanted = {"advance": advance, "set": moment, "freeze": freeze or None, "resume": resume or None}
    body = {name: value for name, value in wanted.items() if value is not None}
    if len(body) > 1:
        raise click.UsageError("expected one of --advance, --set, --freeze, --resume.")
    answer = _ask(context, "POST" if body else "GET", "/clock", body or None)
    came = answer.get("checkIns", [])
    for one in came:
        failed = f"in vain: {one['failed']}" if one["failed"] else f"{one['messages']} messages"
        _tell(context, f"{one['time'][:19]}  {one['device']}  {failed}")
    still = ", standing still until `pfxlab world clock --resume`" if answer["frozen"] else ""
    _tell(context, f"{answer['time']}{still}")
    if came:
        _tell(context, "Next: pfxlab explain --user UPN says what has arrived.")


def _setting(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise click.UsageError(f"expected NAME=VALUE, got {text!r}.")
    if name in MATCHES or fault_schema()["properties"].get(name, {}).get("type") == "string":
        return name, value
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError:
        return name, value


@world.command()
@click.argument("kind")
@click.argument("settings", nargs=-1)
@click.pass_context
def fault(context: click.Context, kind: str, settings: Sequence[str]) -> None:
    """Plan a fault: KIND and NAME=VALUE as in docs/faults.md, such as `fault status status=429 times=2`."""
    planned = _ask(context, "POST", "/faults", {"kind": kind, **dict(map(_setting, settings))})
    _tell(context, f"{planned['id']} planned. Next: pfxlab world faults shows how often it strikes.")


@world.command()
@click.option("--clear", is_flag=True, help="Take all of them back.")
@click.pass_context
def faults(context: click.Context, *, clear: bool) -> None:
    """List planned faults with how often each fitted and struck."""
    for one in _ask(context, "DELETE" if clear else "GET", "/faults")["faults"]:
        _tell(context, f"{one['id']}  {one['kind']}  fitted {one['fitted']}, struck {one['struck']}")
    if clear:
        _tell(context, "All faults are taken back.")


@world.command()
@click.pass_context
def settle(context: click.Context) -> None:
    """Let everything happen that is due now; no time passes."""
    answer = _ask(context, "POST", "/settle")
    left = answer["left"]
    waiting = (
        f"{left} deliveries still wait for a connector that does not take them" if left else "nothing is due any more"
    )
    _tell(context, f"{answer['checkIns']} check-ins; {waiting}.")


@world.command()
@click.argument("file", type=FILE)
@click.pass_context
def do(context: click.Context, file: Path) -> None:
    """Carry out the steps of a YAML file (docs/scenarios.md) in the running lab: users, devices, profiles, imports."""
    try:
        body = read_yaml(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        stop(USAGE, f"{file}: expected YAML, got something else ({error})")
    steps = body.get("steps") if isinstance(body, dict) else body
    for told in _ask(context, "POST", "/seed", {"steps": steps})["done"]:
        _tell(context, told)


@world.command()
@click.argument("name")
@click.pass_context
def snapshot(context: click.Context, name: str) -> None:
    """Keep the state of the whole lab under a name."""
    _ask(context, "POST", "/snapshots", {"name": name})
    _tell(context, f"Kept. Next: pfxlab world restore {name} brings everything back to here.")


@world.command()
@click.argument("name")
@click.pass_context
def restore(context: click.Context, name: str) -> None:
    """Bring the whole lab back to a snapshot."""
    answer = _ask(context, "POST", f"/snapshots/{name}/restore")
    _tell(context, f"Back at {name}, {answer['time']}.")


@world.command()
@click.pass_context
def reset(context: click.Context) -> None:
    """Bring the whole lab back to its beginning."""
    answer = _ask(context, "POST", "/reset")
    _tell(context, f"Back at the beginning, {answer['time']}, in {answer['milliseconds']} ms.")
