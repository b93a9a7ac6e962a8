"""What `pfxlab scenario` does."""

import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from pfxlab import private_file
from pfxlab.emulator.wire.numbers import counted
from pfxlab.scenarios import terminal
from pfxlab.scenarios.commands.common import USAGE, VERDICT_FAILED, can_be_written, print_json, stop
from pfxlab.scenarios.control import bundle
from pfxlab.scenarios.nearest import near
from pfxlab.scenarios.scenario import loader, runner
from pfxlab.scenarios.scenario.loader import Scenario, ScenarioProblem, catalogue, read_scenario
from pfxlab.scenarios.scenario.runner import Run

_COLOURS = {"passed": "green", "failed": "bold red", "skipped": "yellow"}


def list_(*, as_json: bool) -> None:
    """Do what the command says."""
    scenarios = catalogue()
    if as_json:
        shown = [
            {"name": s.name, "title": s.title, "source": s.source, "steps": len(s.steps)} for s in scenarios.values()
        ]
        print_json(shown, ensure_ascii=False)
        return
    width = max(map(len, scenarios))
    for scenario in scenarios.values():
        click.echo(f"{scenario.name:<{width}}  {scenario.title}")
    click.echo("\nNext: `pfxlab scenario run NAME`, or `pfxlab scenario show NAME` to see how one is written.")


def show(name: str) -> None:
    """Do what the command says."""
    click.echo(_found([name])[0].text, nl=False)


def check(files: Sequence[Path]) -> None:
    """Do what the command says."""
    for path in files:
        scenario = _read(path)
        click.echo(f"{path}: a scenario of {counted(len(scenario.steps), 'step')}")
    click.echo(f"Next: pfxlab scenario run {files[0]}")


def schema() -> None:
    """Do what the command says."""
    print_json(loader.schema(), ensure_ascii=False)


def _read(path: Path) -> Scenario:
    try:
        return read_scenario(path)
    except ScenarioProblem as problem:
        stop(USAGE, str(problem))


def _found(names: Sequence[str]) -> list[Scenario]:
    """Return scenarios by name, or from files."""
    known, found = catalogue(), []
    for name in names:
        if name in known:
            found.append(known[name])
        elif name.endswith((".yaml", ".yml")) or Path(name).is_file():
            found.append(_read(Path(name)))
        else:
            hint = near(name, known)
            stop(USAGE, f"expected a scenario of `pfxlab scenario list` or a YAML file, got {name!r}{hint}")
    return found


def run(
    names: Sequence[str],
    seed: int | None,
    junit: Path | None,
    bundles: Path | None,
    *,
    every: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Do what the command says."""
    if bool(names) == every:
        raise click.UsageError("expected names of scenarios, or --all.")
    can_be_written(junit)
    scenarios = list(catalogue().values()) if every else _found(names)
    console = terminal.console(quiet=as_json)
    began = time.perf_counter()
    runs = runner.run_all(scenarios, seed, _progress(console), lambda one: _print_result(console, one), strict=strict)
    if junit is not None:
        junit.write_bytes(_junit(runs))
    written = [] if bundles is None else _write_bundles(bundles, runs)
    if as_json:
        print_json(_result(runs, seed), ensure_ascii=False)
    else:
        _sum_up(console, runs, time.perf_counter() - began, written)
    if any(one.outcome == "failed" for one in runs):
        raise SystemExit(VERDICT_FAILED)


def _progress(console: Console) -> Callable[[Scenario], Callable[[str], None]]:
    def begun(scenario: Scenario) -> Callable[[str], None]:
        console.print(f"\n[bold]{scenario.name}[/]  {escape(scenario.title)}")
        start = time.perf_counter()
        return lambda text: console.print(f"{time.perf_counter() - start:6.2f} s  {text}", markup=False, soft_wrap=True)

    return begun


def _print_result(console: Console, one: Run) -> None:
    console.print(f"          [{_COLOURS[one.outcome]}]{one.outcome}[/] {escape(one.why)}", soft_wrap=True)
    for fault in one.idle_faults:
        console.print(f"          [yellow]never struck:[/] {fault}", soft_wrap=True)


def _count(runs: Sequence[Run], outcome: str) -> int:
    return sum(one.outcome == outcome for one in runs)


def _result(runs: Sequence[Run], seed: int | None) -> dict[str, Any]:
    shown = runs[0].seed if seed is None else seed
    counts = {outcome: _count(runs, outcome) for outcome in ("passed", "failed", "skipped")}
    return {"seed": shown, **counts, "scenarios": [one.to_json() for one in runs]}


def _sum_up(console: Console, runs: Sequence[Run], seconds: float, written: Sequence[Path]) -> None:
    failed, skipped = _count(runs, "failed"), _count(runs, "skipped")
    seeds = ", ".join(sorted({str(one.seed) for one in runs}))
    also = f", {skipped} skipped" if skipped else ""
    verdict = f"[bold red]{failed} FAILED[/]" if failed else "[bold green]PASSED[/]"
    console.print(
        f"\n{verdict}: {_count(runs, 'passed')} of {counted(len(runs), 'scenario')}{also} in {seconds:.1f} s,"
        f" seed {seeds}"
    )
    if written:
        console.print(f"Next: pfxlab replay {written[0]}", markup=False, soft_wrap=True)
    elif failed:
        console.print("Next: the same command with --bundle . writes a file that reproduces it.")
    else:
        console.print("Next: pfxlab scenario show NAME, then one of your own; docs/scenarios.md has every step.")


def _write_bundles(folder: Path, runs: Sequence[Run]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for one in runs:
        written.append(folder / f"{one.scenario.name}.pfxlab.zip")
        private_file.replace(written[-1], bundle.pack(bundle.of_run(one)))
    return written


def _junit(runs: Sequence[Run]) -> bytes:
    suite = ET.Element(
        "testsuite",
        name="pfxlab scenario",
        tests=str(len(runs)),
        failures=str(_count(runs, "failed")),
        skipped=str(_count(runs, "skipped")),
        errors="0",
        time=f"{sum(one.seconds for one in runs):.3f}",
    )
    for one in runs:
        case = ET.SubElement(
            suite, "testcase", classname="pfxlab.scenario", name=one.scenario.name, time=f"{one.seconds:.3f}"
        )
        if one.outcome == "failed":
            ET.SubElement(case, "failure", message=one.why).text = "\n".join([*one.steps, one.why])
        elif one.outcome == "skipped":
            ET.SubElement(case, "skipped", message=one.why)
    return bytes(ET.tostring(suite, encoding="utf-8", xml_declaration=True))
