"""The report of a load run: figures as JSON, a page, plots, a summary for the terminal."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from rich.console import Console

from pfxlab.emulator.wire.numbers import counted
from pfxlab.scenarios.load.drive.run import RunResult
from pfxlab.scenarios.load.judge.saturation import Saturation
from pfxlab.scenarios.load.judge.verdict import Judged, judge
from pfxlab.scenarios.load.plan_file import PATHS
from pfxlab.scenarios.load.report import plots
from pfxlab.scenarios.terminal import Rows, print_rows

_TEMPLATES: Final = Environment(
    loader=PackageLoader("pfxlab.scenarios.load.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
_TEMPLATES.filters["number"] = lambda value: f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.1f}"


NO_REQUEST: Final = "no request was made"


def _tried(result: Mapping[str, Any]) -> int:
    return int(result["all"]["count"] + result["all"]["failures"])


def complete(outcome: RunResult) -> tuple[dict[str, Any], list[Judged]]:
    """Return the report of a run with its verdict: PASS, FAIL, or INCOMPLETE when it ended early."""
    plan = outcome.plan
    judged = judge(plan, outcome.result)
    if not outcome.ended and not _tried(outcome.result):
        outcome.ended = NO_REQUEST
    verdict = "INCOMPLETE" if outcome.ended else ("PASS" if all(one.kept for one in judged) else "FAIL")
    head = {
        "plan": plan.name,
        "title": plan.title,
        "verdict": verdict,
        "ended": outcome.ended,
        "path": plan.path,
        "about": PATHS[plan.path][1],
        "unit": plan.unit,
        "shape": asdict(plan.shape),
        "processes": plan.processes,
        "thresholds": [
            {**asdict(one.threshold), "measured": one.measured, "kept": one.kept, "text": one.text()} for one in judged
        ],
    }
    return {**head, **outcome.result}, judged


def answer(report: dict[str, Any]) -> str:
    """Return the result of the run in a sentence."""
    found, tried = report["saturation"], _tried(report)
    if not tried:
        early = "" if report["ended"] in ("", NO_REQUEST) else f", and the run ended early: {report['ended']}"
        return f"Nothing was measured: {NO_REQUEST}{early}."
    if not report["all"]["count"]:
        return f"No request succeeded: {counted(tried, 'request')} failed."
    if found is None:
        return "Nothing was measured long enough to tell."
    return f"The path {Saturation(**found).text(report['unit'])}."


def write(folder: Path, report: dict[str, Any], judged: Sequence[Judged], when: datetime) -> None:
    """Write report.json, report.html and the plots."""
    (folder / "report.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    drawn = plots.draw_all(report)
    for name, figure in drawn.items():
        plots.save(figure, folder, name)
    page = _TEMPLATES.get_template("load.html").render(
        result=report,
        judged=judged,
        answer=answer(report),
        when=f"{when:%Y-%m-%d %H:%M}",
        plots={name: Markup(plots.svg(figure)) for name, figure in drawn.items()},  # noqa: S704 - drawn by us
    )
    (folder / "report.html").write_text(page, encoding="utf-8")


def print_summary(console: Console, report: dict[str, Any], judged: Sequence[Judged]) -> None:
    """Print requests and stages, the result, the thresholds and the verdict."""
    numbers = ("count", "failed", "per second", "p50 ms", "p95 ms", "p99 ms")
    rows = []
    for name, one in [*report["requests"].items(), *((f"· {name}", one) for name, one in report["stages"].items())]:
        rate = f"{one['per_second']:,.1f}" if one["units"] else ""
        times = [f"{one[key]:,.1f}" for key in ("p50_ms", "p95_ms", "p99_ms")]
        rows.append((name, f"{one['count']:,}", f"{one['failures']:,}", rate, *times))
    print_rows(console, Rows(("request or stage", *numbers), rows, numbers))
    console.print(answer(report), highlight=False, style="bold", soft_wrap=True)
    console.print(f"At the busiest, {report['bottleneck']}.", highlight=False, soft_wrap=True)
    if report.get("openssl"):
        rate = report["openssl"]["private_operations_per_second"]
        ratio = report["openssl"]["ratio"]
        share = "" if ratio is None else f"; the path reached {100 * ratio:.0f} % of that"
        text = f"OpenSSL alone: {rate:,.0f} private operations per second on all cores{share}."
        console.print(text, highlight=False, soft_wrap=True)
    for text, count in list(report["causes"].items())[:3]:
        console.print(f"{count:,} failed: {text}", style="red", highlight=False, soft_wrap=True)
    for one in judged:
        console.print(one.text(), style="green" if one.kept else "bold red", highlight=False, soft_wrap=True)
