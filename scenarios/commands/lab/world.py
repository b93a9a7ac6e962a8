"""`pfxlab world`: the verbs of emulator/lab/verbs.py for a running lab, from a shell.

Every verb of a scenario is a command, made of its row; `clock` and `faults` show as well, so they are written here.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click
import yaml

from pfxlab.emulator.lab.verbs import Verb, steps
from pfxlab.emulator.wire.numbers import counted
from pfxlab.emulator.wire.text import printable
from pfxlab.scenarios import bounded_yaml, yaml_file
from pfxlab.scenarios.commands import options, suggest
from pfxlab.scenarios.commands.common import COULD_NOT_RUN, FILE, USAGE, VERDICT_FAILED, print_json, stop
from pfxlab.scenarios.commands.lab.control_client import ControlClient, ControlRefused, NoLab, facts_of
from pfxlab.scenarios.commands.ready_file import READY_FILE, require_ready_file
from pfxlab.scenarios.commands.verb_help import VerbCommand


class _Verbs(suggest.Group):
    """Commands written here, and one for each verb that a scenario can use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of both, sorted."""
        return sorted({*super().list_commands(ctx), *(name.replace("_", "-") for name in steps())})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, made of the verb's row where none is written here."""
        verb = steps().get(cmd_name.replace("-", "_"))
        return super().get_command(ctx, cmd_name) or (None if verb is None else _command_of(verb))


@click.group(cls=_Verbs)
@READY_FILE
@options.as_json("answers")
@click.pass_context
def world(context: click.Context, ready_file: Path | None, *, as_json: bool) -> None:
    """Control a running lab: its clock, its faults, its state."""
    context.obj = (ready_file, as_json)


def _ask(context: click.Context, method: str, path: str, body: Any = None, place: str = "") -> Any:
    ready_file, as_json = context.obj
    try:
        answer = ControlClient(facts_of(require_ready_file(ready_file))).call(method, path, body)
    except ControlRefused as error:
        stop(VERDICT_FAILED if error.code == "VerbFailed" else USAGE, f"{place}{error}")
    except NoLab as error:
        stop(COULD_NOT_RUN, f"The lab did not answer: {error}")
    if as_json:
        print_json(answer, ensure_ascii=False)
    return answer


def _say(context: click.Context, *lines: str) -> None:
    if not context.obj[1]:
        for line in lines:
            click.echo(printable(line))


def _to_the_second(moment: str) -> str:
    """Return an ISO 8601 moment without fractions of a second."""
    return datetime.fromisoformat(moment).isoformat(timespec="seconds")


_EXPIRE_TOKENS: Final = click.option(
    "--expire-tokens", is_flag=True, help="Let every access token expire that was issued until then."
)


@world.command()
@click.option("--advance", help="Advance by a duration such as 1d12h, with everything due in between; then freeze.")
@click.option(
    "--set", "moment", help="Set the clock to a moment such as 2026-03-01T08:00:00Z; nothing in between happens."
)
@click.option("--freeze", is_flag=True, help="Freeze the clock.")
@click.option("--resume", is_flag=True, help="Let the clock run again.")
@_EXPIRE_TOKENS
@click.pass_context
def clock(
    context: click.Context, advance: str | None, moment: str | None, *, freeze: bool, resume: bool, expire_tokens: bool
) -> None:
    """Show the lab's clock, or move it."""
    wanted = {"advance": advance, "set": moment, "freeze": freeze or None, "resume": resume or None}
    body = {name: value for name, value in wanted.items() if value is not None}
    if len(body) > 1:
        raise click.UsageError("expected one of --advance, --set, --freeze, --resume.")
    if expire_tokens and advance is None:
        raise click.UsageError("expected --expire-tokens beside --advance.")
    _move_clock(context, {**body, "expireTokens": True} if expire_tokens else body)


@world.command("advance")
@click.argument("duration")
@_EXPIRE_TOKENS
@click.pass_context
def advance_clock(context: click.Context, duration: str, *, expire_tokens: bool) -> None:
    """Advance the clock by a DURATION such as 30d, as `clock --advance` does."""
    _move_clock(context, {"advance": duration, **({"expireTokens": True} if expire_tokens else {})})


def _move_clock(context: click.Context, body: Mapping[str, Any]) -> None:
    answer = _ask(context, "POST" if body else "GET", "/clock", body or None)
    came = answer.get("checkIns", [])
    for one in came:
        failed = f"failed: {one['failed']}" if one["failed"] else counted(one["messages"], "message")
        _say(context, f"{one['time'][:19]}  {one['device']}  {failed}")
    still = ", frozen until `pfxlab world clock --resume`" if answer["frozen"] else ""
    _say(context, f"{_to_the_second(answer['time'])}{still}")
    if body.get("expireTokens"):
        _say(context, "Every access token issued so far is expired; refresh tokens are valid.")
    if came:
        _say(context, "Next: pfxlab explain --user UPN says what has arrived.")


@world.command()
@click.option("--clear", is_flag=True, help="Remove all of them.")
@click.pass_context
def faults(context: click.Context, *, clear: bool) -> None:
    """List planned faults, with how often each matched and struck."""
    for one in _ask(context, "DELETE" if clear else "GET", "/faults")["faults"]:
        _say(context, f"{one['id']}  {one['kind']}  matched {one['fitted']}, struck {one['struck']}")
    if clear:
        _say(context, "All faults are removed.")


@world.command()
@click.argument("file", type=FILE)
@click.pass_context
def do(context: click.Context, file: Path) -> None:
    """Run the steps of a YAML file (docs/scenarios.md) in the running lab: users, devices, profiles, imports."""
    try:
        body = yaml_file.values_of(file)
    except yaml_file.InvalidYaml as problem:
        stop(USAGE, str(problem))
    steps = body.get("steps") if isinstance(body, dict) else body
    if not isinstance(steps, list):
        stop(USAGE, f"{file}: expected a list of steps, got {type(steps).__name__}")
    for step in _ask(context, "POST", "/seed", {"steps": steps}, f"{file}: ")["done"]:
        _say(context, step)


@world.command()
@click.pass_context
def reset(context: click.Context) -> None:
    """Reset the whole lab to its initial state."""
    answer = _ask(context, "POST", "/reset")
    now = _to_the_second(answer["time"])
    _say(context, f"Reset to the initial state in {answer['milliseconds']} ms; the lab's time is {now}.")


def _typed(schema: Mapping[str, Any], text: str) -> Any:
    """Return the value of a command-line text: the text itself if a text is expected, else its YAML value."""
    forms = [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    takes_text = any(form.get("type") == "string" for form in forms) or any(
        isinstance(value, str) for form in forms for value in form.get("enum", ())
    )
    if takes_text and not text.startswith("["):
        return text
    try:
        return bounded_yaml.load_with_dates(text)
    except (yaml.YAMLError, ValueError):
        return text


def _given(verb: Verb, words: Sequence[str]) -> Any:
    """Return the arguments of a verb in the form a scenario gives them."""
    known = verb.named_arguments()
    named, bare = {}, []
    for word in words:
        name, sign, text = word.partition("=")
        if sign and (name in known or (not known and verb.takes_names_only())):
            named[name] = _typed(known.get(name, {}), text)
        elif sign and verb.takes_names_only():
            raise click.UsageError(f"expected one of {', '.join(known)} before '=', got {name!r}.")
        else:
            bare.append(word)
    value: Any = bare[0] if len(bare) == 1 else bare or None
    if not named and not verb.takes_names_only():
        return value
    if bare and not verb.first:
        raise click.UsageError(f"expected NAME=VALUE, got {bare[0]!r}.")
    return {**({verb.first: value} if bare else {}), **named}


def _usage_of(verb: Verb) -> str:
    """Return the usage of a verb: its named arguments, else what a bare value means."""
    return " ".join(f"{name}=…" for name in verb.named_arguments() if name != verb.first)


def _carry_out(context: click.Context, verb: Verb, words: Sequence[str]) -> None:
    given, own = _given(verb, words), verb.endpoint
    if own is None:
        _say(context, _ask(context, "POST", f"/do/{verb.name}", given)["done"])
        return
    body = None if own.body is None else given if isinstance(given, dict) else {"name": given}
    answer = _ask(context, own.method, own.path.format(name=quote(str(given), safe="")), body)
    _say(context, _SHOWN[verb.name](answer, given))


def _shown_settle(answer: Any, _: Any) -> str:
    left, waiting = answer["left"], "nothing is due now"
    if left:
        waiting = f"still waiting for a connector that does not take them: {counted(left, 'delivery', 'deliveries')}"
    return f"{counted(answer['checkIns'], 'check-in')}; {waiting}."


_SHOWN: Final[Mapping[str, Callable[[Any, Any], str]]] = {
    "settle": _shown_settle,
    "fault": lambda answer, _: f"{answer['id']} planned. Next: pfxlab world faults shows how often it strikes.",
    "no_faults": lambda _, __: "All faults are removed.",
    "switches": lambda _, given: f"Set: {', '.join(f'{name} {value}' for name, value in given.items())}.",
    "snapshot": lambda _, name: f"Saved. Next: pfxlab world restore {name} restores this state.",
    "restore": lambda answer, name: f"Restored {name}, {_to_the_second(answer['time'])}.",
}
"""Verb with its own endpoint → the text for its answer."""


def _command_of(verb: Verb) -> click.Command:
    @click.pass_context
    def carry_out(context: click.Context, words: Sequence[str]) -> None:
        _carry_out(context, verb, words)

    without = verb.takes_names_only() or verb.takes_nothing()
    bare = verb.first.upper() if verb.first else "" if without else "VALUE…"
    usage = f"{bare} {_usage_of(verb)}".strip()
    argument = click.Argument(["words"], nargs=-1, metavar=f"[{usage}]" if usage else "")
    return VerbCommand(verb, callback=carry_out, params=[argument])
