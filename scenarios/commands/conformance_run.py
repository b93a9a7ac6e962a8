"""What `pfxlab conformance` does."""

import json
import os
import shutil
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.graph.directory.graph_permissions import PERMISSIONS
from pfxlab.scenarios import ending, terminal, yaml_file
from pfxlab.scenarios.commands.common import COULD_NOT_RUN, USAGE, VERDICT_FAILED, can_be_written, print_json, stop
from pfxlab.scenarios.conformance import report, runner
from pfxlab.scenarios.conformance.evidence import ToolRun
from pfxlab.scenarios.conformance.offered import RIGHTS
from pfxlab.scenarios.conformance.plans import PLANS, Module, Plan
from pfxlab.scenarios.conformance.rules import RULES
from pfxlab.scenarios.conformance.tool import CommandTool, MissingArgument
from pfxlab.scenarios.conformance.verdict import Judgement, NotJudged
from pfxlab.scenarios.ending import Interrupted
from pfxlab.scenarios.nearest import near


def rules(*, as_json: bool) -> None:
    """Do what the command says."""
    if as_json:
        shown = [
            {
                "id": r.id,
                "group": r.group,
                "severity": r.severity,
                "sentence": r.sentence,
                "broken": r.broken,
                "source": "; ".join(r.fact.cited),
                "sourceAnchor": r.source,
                "tip": r.tip,
            }
            for r in RULES.values()
        ]
        print_json(shown, ensure_ascii=False)
        return
    group = ""
    for rule in RULES.values():
        if rule.group != group:
            group = rule.group
            click.echo(f"\n{group}")
        click.echo(f"  {rule.severity:<7} {rule.id:<28} {rule.sentence}")
    click.echo("\nNext: pfxlab conformance run --plan import -- COMMAND; --json shows each rule's source.")


def plans(*, as_json: bool) -> None:
    """Do what the command says."""
    if as_json:
        shown = [
            {"name": p.name, "title": p.title, "arguments": list(p.arguments),
             "modules": [{"name": m.name, "title": m.title} for m in p.modules]}
            for p in PLANS.values()
        ]  # fmt: skip
        print_json(shown, ensure_ascii=False)
        return
    for plan in PLANS.values():
        click.echo(f"\n{plan.name}: a tool that {plan.title}; {', '.join(f'{{{name}}}' for name in plan.arguments)}")
        for module in plan.modules:
            click.echo(f"  {module.name:<24} {module.title}")
    click.echo("\nIn every plan: " + ", ".join(f"{{{name}}}" for name in _COMMON))
    click.echo("Next: pfxlab conformance run --plan import -- my-tool --pfx {pfx} --password {password} --user {upn}")


def _expected(path: Path | None) -> dict[str, str]:
    """Return the known failures of a YAML file: rule id → reason."""
    if path is None:
        return {}
    try:
        body = yaml_file.values_of(path) or {}
    except yaml_file.InvalidYaml as problem:
        stop(USAGE, str(problem))
    if not isinstance(body, dict):
        stop(USAGE, f"{path}: expected rule ids with reasons, got {type(body).__name__}")
    unknown = sorted(str(name) for name in body if name not in RULES)
    if unknown:
        stop(
            USAGE,
            f"{path}: expected rules of `pfxlab conformance rules`, got {', '.join(unknown)}{near(unknown[0], RULES)}",
        )
    unexplained = next((name for name, reason in body.items() if not isinstance(reason, str | int)), None)
    if unexplained is not None:
        stop(USAGE, f"{path}: {unexplained}: expected the reason as a text, got {type(body[unexplained]).__name__}")
    return {name: str(reason) for name, reason in body.items()}


def run(
    plan_name: str, only: Sequence[str], rights: str, known: Path | None, seconds: float | None, jobs: int,
    json_file: Path | None, junit_file: Path | None, html_file: Path | None, command: Sequence[str], *, attach: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Do what the command says."""
    plan, expected = PLANS[plan_name], _expected(known)
    modules = [module.name for module in plan.modules]
    unknown = sorted(set(only) - set(modules))
    if unknown:
        hint = near(unknown[0], modules)
        raise click.UsageError(f"--module: expected modules of plan {plan.name}, got {', '.join(unknown)}{hint}")
    granted = _granted(rights)
    can_be_written(json_file, junit_file, html_file)
    words = command[1:] if command[:1] == ("--",) else command
    console = terminal.console(quiet=as_json)
    tool, shown = _tool(plan, words, attach=attach)
    if attach:
        jobs = 1
    console.print(f"Plan {plan.name}: a tool that {plan.title}\n")

    def progress(module: Module, done: ToolRun | NotJudged) -> None:
        if isinstance(done, NotJudged):
            console.print(f"  {module.name:<24} not judged: {done.reason}", markup=False)
            return
        code = "stopped" if done.exit_code is None else f"exit {done.exit_code}"
        console.print(f"  {module.name:<24} {code:<8} {len(done.exchanges):>4} requests  {module.title}", markup=False)

    playing = runner.run(
        plan, tool, shown, rights=granted, only=only, expected=expected, jobs=jobs, seconds=seconds, progress=progress
    )
    judgement = _judged(playing)
    _write(judgement, json_file, junit_file, html_file)
    if as_json:
        print_json(judgement.to_json(), ensure_ascii=False)
    console.print()
    report.print_judgement(console, judgement)
    _lead_on(console, judgement, html_file)
    if judgement.not_judged:
        lost = "; ".join(map(str, judgement.not_judged[:_NAMED]))
        more = len(judgement.not_judged) - _NAMED
        stop(COULD_NOT_RUN, f"Could not judge {lost}{f'; and {more} more' if more > 0 else ''}. {report.REPORT_IT}")
    if judgement.verdict == "FAIL":
        raise SystemExit(VERDICT_FAILED)


def _judged(playing: Coroutine[Any, Any, Judgement]) -> Judgement:
    try:
        return ending.run(playing)
    except runner.NotPlayed as error:
        stop(COULD_NOT_RUN, f"Could not run {error}")
    except Interrupted as signalled:
        click.echo("Interrupted; the tool was stopped.", err=True)
        raise signalled from None


def _granted(rights: str) -> list[str]:
    granted = [right for right in map(str.strip, rights.split(",")) if right]
    strange = ", ".join(sorted(set(granted) - set(PERMISSIONS)))
    if strange:
        raise click.UsageError(f"--rights: expected application rights such as {', '.join(RIGHTS)}, got {strange}.")
    return granted


def _tool(plan: Plan, words: Sequence[str], *, attach: bool) -> tuple[Any, str]:
    if attach == bool(words):
        raise click.UsageError("expected a COMMAND after --, or --attach.")
    if attach and any(module.drive is not None for module in plan.modules):
        raise click.UsageError(f"--attach: expected a plan whose tools end by themselves, got {plan.name}.")
    if attach:
        from pfxlab.scenarios.conformance.attached import AttachedTool

        return AttachedTool(), "a tool started by hand"
    if shutil.which(words[0]) is None:
        stop(USAGE, f"expected a command on the path, got {words[0]!r}, which is not found")
    tool = CommandTool(words)
    try:
        tool.filled(dict.fromkeys([*_COMMON, *plan.arguments], "x"))
    except MissingArgument as error:
        stop(USAGE, str(error))
    return tool, " ".join(words)


_NAMED = 5
"""Modules and rules that the last line names."""

_COMMON = (
    "graph_url", "authority_url", "tenant_id", "client_id", "client_secret", "ca_file", "public_key_file", "provider",
    "key_name", "proxy_url", "ready_file",
)  # fmt: skip


def _as_text(judgement: Judgement) -> str:
    return json.dumps(judgement.to_json(), indent=2, ensure_ascii=False) + "\n"


def _write(judgement: Judgement, json_file: Path | None, junit_file: Path | None, html_file: Path | None) -> None:
    when = LabClock().now().strftime("%Y-%m-%d %H:%M UTC")
    try:
        if json_file is not None:
            json_file.write_text(_as_text(judgement), "utf-8")
        if junit_file is not None:
            junit_file.write_bytes(report.junit(judgement))
        if html_file is not None:
            html_file.write_text(report.html(judgement, when), "utf-8")
    except OSError as error:
        stop(COULD_NOT_RUN, f"The verdict is {judgement.verdict}, but could not be written: {error}")


def _lead_on(console: Console, judgement: Judgement, html_file: Path | None) -> None:
    if html_file is not None:
        console.print(f"Next: open {html_file.resolve().as_uri() if os.name == 'posix' else html_file}", soft_wrap=True)
    elif judgement.verdict == "FAIL":
        console.print("Next: --html FILE writes a page with each request; fix what is broken and run it again.")
    else:
        console.print("Next: --html FILE writes a page with the evidence; other plans: pfxlab conformance plans.")
