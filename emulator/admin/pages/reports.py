"""/admin/reports: verdicts on tools and load runs that were written into the lab's folder of reports.

A load run's is a folder with report.json (`pfxlab load … --out FOLDER/NAME`); a conformance run's is a file NAME.json
(`pfxlab conformance run … --json-file FOLDER/NAME.json`), with NAME.html beside it.
"""

import json
import os
import re
from collections import Counter
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pfxlab import private_file
from pfxlab.emulator.admin.page import Look, Shown, Table, not_found
from pfxlab.emulator.wire.files.damaged import Damaged, reading

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")
DAMAGED: Final = "damaged"
_REMEDY: Final = "delete it and run the command again that wrote it"
_LARGEST: Final = 32 * 1024 * 1024
FILES: Final = {
    "throughput.svg": "image/svg+xml", "latency.svg": "image/svg+xml", "over-time.svg": "image/svg+xml",
    "stages.svg": "image/svg+xml", "report.html": "text/html",
}  # fmt: skip
"""What of a report is served as it is, and as what."""

COLUMNS: Final = ("name", "kind", "plan", "verdict", "summary", "written")
_RULE_COLUMNS: Final = ("id", "severity", "outcome", "source")
_LOAD_COLUMNS: Final = ("name", "count", "failures", "per_second", "p50_ms", "p95_ms", "p99_ms")
_WORST_FIRST: Final = ("FAIL", "WARNING", "NOT JUDGED", "PASS", "SKIPPED", "NOT EXERCISED")


def _read(folder: Path, name: str) -> dict[str, Any] | None:
    """Return a report by its name, a damaged one as such; None when there is none of that name."""
    if not _NAME.fullmatch(name):
        return None
    for path in (folder / name / "report.json", folder / f"{name}.json"):
        if not os.path.lexists(path) or not _is_of(folder, path):
            continue
        try:
            facts = path.lstat()
            with reading(path, "a report of a conformance or load run", _REMEDY):
                body = None if facts.st_size > _LARGEST else _parsed(path, facts.st_mtime_ns)
                kind = _kind(body)
        except Damaged as problem:
            kind, body = DAMAGED, {"verdict": "damaged", "problem": str(problem)}
        if kind:
            written = datetime.fromtimestamp(facts.st_mtime, UTC)
            return {"name": name, "kind": kind, "body": body, "written": written.isoformat()}
    return None


@lru_cache(maxsize=64)
def _parsed(path: Path, _changed: int) -> Any:
    """Return what is in a file; it is read once for each time it was written."""
    return json.loads(private_file.read_no_link(path))


def _kind(body: Any) -> str:
    """Return which command wrote a report, empty for what none of ours writes."""
    if not isinstance(body, dict) or not isinstance(body.get("verdict"), str):
        return ""
    rules, requests = body.get("rules"), body.get("requests")
    if isinstance(rules, list) and all(isinstance(rule, dict) for rule in rules):
        return "conformance"
    whole = isinstance(requests, dict) and isinstance(body.get("stages"), dict) and "saturation" in body
    return "load" if whole else ""


def _summary(kind: str, body: dict[str, Any]) -> str:
    if kind == DAMAGED:
        return str(body["problem"])
    if kind == "conformance":
        count = Counter(str(rule.get("outcome")) for rule in body["rules"])
        return ", ".join(f"{count[outcome]} {outcome}" for outcome in _WORST_FIRST if count[outcome])
    found = body["saturation"]
    if not found:
        return "nothing was measured long enough"
    name = "saturates at" if found["reached"] else "kept up with"
    return f"{name} {found['per_second']:,.0f} {body.get('unit', '')} per second"


def _row(report: dict[str, Any]) -> dict[str, Any]:
    body = report["body"]
    return {
        "name": report["name"],
        "kind": report["kind"],
        "plan": str(body.get("plan", "")),
        "verdict": str(body["verdict"]),
        "summary": _summary(report["kind"], body),
        "written": report["written"],
    }


def show_all(look: Look) -> Shown:
    """Return the reports, the latest first."""
    folder = look.cloud.config.reports
    names = sorted({path.name.removesuffix(".json") for path in folder.iterdir()}) if folder and folder.is_dir() else []
    found = [_row(one) for name in names if folder is not None and (one := _read(folder, name)) is not None]
    rows = sorted(found, key=lambda row: row["written"], reverse=True)
    return Shown("reports.html", {"rows": rows, "folder": folder}, Table(COLUMNS, lambda: rows))


def show_one(look: Look) -> Shown:
    """Return one report: a verdict rule by rule, or a load run with its plots."""
    folder, name = look.cloud.config.reports, look.place["name"]
    report = None if folder is None else _read(folder, name)
    if report is None or folder is None:
        return not_found("report", name)
    body = report["body"]
    if report["kind"] == DAMAGED:
        return Shown("report_damaged.html", {"report": _row(report)})
    values = {"report": _row(report), "body": body, "whole": _file(folder, name, "report.html") is not None}
    if report["kind"] == "load":
        values["plots"] = [file for file in FILES if file.endswith(".svg") and _file(folder, name, file) is not None]
        requests = [{"name": key, **one} for key, one in {**body["requests"], **body["stages"]}.items()]
        return Shown("report_load.html", {**values, "requests": requests}, Table(_LOAD_COLUMNS, lambda: requests))
    order = {outcome: number for number, outcome in enumerate(_WORST_FIRST)}
    rules = sorted(body["rules"], key=lambda rule: order.get(str(rule.get("outcome")), len(order)))
    return Shown("report_conformance.html", {**values, "rules": rules}, Table(_RULE_COLUMNS, lambda: rules))


def _file(folder: Path, name: str, file: str) -> Path | None:
    """Return a file of a report; a conformance report's page lies beside its JSON."""
    path = folder / name / file
    if file == "report.html" and not path.is_file():
        path = folder / f"{name}.html"
    return path if path.is_file() and _is_of(folder, path) else None


def _is_of(folder: Path, path: Path) -> bool:
    """Return whether a path stays in the folder: a link in it could show any file of whoever runs the lab."""
    try:
        return path.resolve() == folder.resolve() / path.relative_to(folder)
    except RuntimeError:
        # A circle of links.
        return False


def file_of(look: Look) -> tuple[bytes, str] | None:
    """Return (content, type) of a file of a report, None when it has none of that name."""
    folder, name, file = look.cloud.config.reports, look.place["name"], look.place["file"]
    if folder is None or not _NAME.fullmatch(name) or file not in FILES:
        return None
    path = _file(folder, name, file)
    return None if path is None else (private_file.read_no_link(path), FILES[file])
