"""The reproduction bundle: one file with a run's starting state, the changes made to the lab, and the result.

It holds seed, clock, switches, faults, configuration, the scenario or the requests to the control API, and the journal.
No password, token or key is in it. A replay generates its own key material, so thumbprints are replaced by numbers, and
a scenario's passwords by others of the same shape.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import yaml

from pfxlab.emulator.store.journal_entries import Entry
from pfxlab.scenarios import bounded_yaml, bounded_zip
from pfxlab.scenarios.control import manifest
from pfxlab.scenarios.control.manifest import FORMAT, FORMER_KIND
from pfxlab.scenarios.scenario.loader import Scenario, ScenarioProblem, parse_scenario
from pfxlab.scenarios.scenario.runner import Run

if TYPE_CHECKING:
    from pfxlab.scenarios.lab.world import World

_DIGESTS: Final = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{40}|[0-9A-F]{64}|[0-9A-F]{40})\b")
_SIZES: Final = ("blob_bytes", "payload_bytes")
"""Fields with the size of key material."""

_ALL_ENTRIES: Final = 10_000_000
LARGEST: Final = 256 * 1024 * 1024
"""The most bytes of a bundle or a file in it that are read: about a journal of a million entries."""

_MOST_LINES: Final = 2_000_000


class BadBundle(ValueError):
    """A file that is not a bundle, or a damaged one; the text says what was expected and what to do."""


@dataclass(frozen=True)
class Bundle:
    """A run as it can be shared. `kind`: `scenario`, or `lab` for one that a tool drove.

    `start`: seed, domain, time and parts at the beginning. `asked`: requests to the control API, each with the number
    of Graph requests before it. `journal`: canonical lines. `timed`: whether its times can be compared.
    """

    kind: str
    start: Mapping[str, Any]
    end: Mapping[str, Any]
    journal: Sequence[str]
    asked: Sequence[Mapping[str, Any]] = ()
    scenario: str = ""
    timed: bool = True
    made_by: str = field(default_factory=lambda: version("pfxlab"))


def canonical(entries: Iterable[Entry], *, timed: bool = True) -> list[str]:
    """Return journal entries as lines that are equal, byte for byte, in two runs with the same seed.

    Digests of certificates and keys differ between runs, so each is replaced by the number of its first appearance.
    """
    seen: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return seen.setdefault(found.group().lower(), f"digest-{len(seen) + 1}")

    lines = []
    for entry in entries:
        line = asdict(entry)
        if not timed:
            del line["time"]
        # Sizes of certificates and PFX files of the same plan differ by a few bytes.
        line["fields"] = {n: "…" if n in _SIZES else v for n, v in line["fields"].items()}
        lines.append(_DIGESTS.sub(number, json.dumps(line, ensure_ascii=False)))
    return lines


def _shape(secret: str) -> str:
    """Return a text of the same length and kinds of characters: a run depends on nothing else of a password."""
    return "".join("ü" if not c.isascii() else "x" if c.isalpha() else "0" if c.isdigit() else "-" for c in secret)


def without_passwords(text: str) -> str:
    """Return a scenario with each password replaced by one of the same shape, or unchanged if it has none."""
    body = bounded_yaml.load(text)
    masked = _masked(body)
    return text if masked == body else yaml.safe_dump(masked, allow_unicode=True, sort_keys=False, width=120)


def _masked(body: Any) -> Any:
    """Return JSON values with each password replaced by one of the same shape."""
    if isinstance(body, dict):
        return {n: _shape(str(v)) if n == "password" else _masked(v) for n, v in body.items()}
    return [_masked(one) for one in body] if isinstance(body, list) else body


def of_run(run: Run) -> Bundle:
    """Return the bundle of a finished scenario."""
    start = {"seed": run.seed, "time": run.scenario.start.isoformat(), "scenario": run.scenario.name}
    end = {"outcome": run.outcome, "why": run.why, **run.end}
    return Bundle("scenario", start, end, canonical(run.journal), scenario=without_passwords(run.scenario.text))


def _without_secrets(tenants: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the configured tenants without the credentials of users and applications."""
    return [
        {
            **{name: value for name, value in tenant.items() if name not in ("users", "apps")},
            "users": [{n: v for n, v in user.items() if n != "password"} for user in tenant.get("users", ())],
            "apps": [{n: v for n, v in app.items() if n != "secret"} for app in tenant.get("apps", ())],
        }
        for tenant in tenants
    ]


def of_world(world: "World") -> Bundle:
    """Return the bundle of a lab driven by a tool, up to now."""
    cloud, config = world.lab.cloud, world.lab.config
    start = {
        "seed": config.seed,
        "domain": config.domain,
        "explain": config.explain,
        "autoApproveUpn": config.auto_approve_upn,
        "switches": asdict(config.switches),
        "tenants": _without_secrets(config.tenants),
        "parts": list(world.parts),
    }
    entries = cloud.journal.entries(after=world.began_at, limit=_ALL_ENTRIES)
    end = {
        "time": cloud.clock.now().isoformat(),
        "frozen": cloud.clock.frozen,
        "switches": asdict(cloud.config.switches),
        "faults": [planned.to_json() for planned in cloud.faults.all()],
    }
    return Bundle("lab", start, end, canonical(entries, timed=False), tuple(map(_masked, world.asked)), timed=False)


def pack(bundle: Bundle) -> bytes:
    """Return a bundle as the bytes of a file."""
    found = {
        "format": FORMAT,
        "madeBy": bundle.made_by,
        "kind": bundle.kind,
        "timed": bundle.timed,
        "start": bundle.start,
        "end": bundle.end,
        "asked": bundle.asked,
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps(found, indent=2))
        if bundle.scenario:
            archive.writestr("scenario.yaml", bundle.scenario)
        archive.writestr("journal.jsonl", "".join(f"{line}\n" for line in bundle.journal))
    return buffer.getvalue()


def unpack(data: bytes) -> Bundle:
    """Return the bundle in the bytes of a file.

    Raises:
        BadBundle: it is not a bundle, damaged, or of another version.

    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = _checked(bounded_zip.member(archive, "manifest.json", LARGEST))
            kind = found["kind"]
            file = {"scenario": "scenario.yaml", FORMER_KIND: f"{FORMER_KIND}.yaml"}.get(kind)
            scenario = "" if file is None else _text(archive, file)
            lines = _text(archive, "journal.jsonl")
    except bounded_zip.BadMember as problem:
        raise BadBundle(f"{problem}; write it again with `pfxlab bundle`") from None
    except bounded_zip.UNREADABLE as error:
        if isinstance(error, BadBundle):
            raise
        raise BadBundle(
            "expected a bundle written by `pfxlab bundle`, got another or a damaged file; write it again"
        ) from None
    if lines.count("\n") > _MOST_LINES:
        raise BadBundle(f"journal.jsonl: expected at most {_MOST_LINES:,} lines, got more")
    start = found["start"]
    if kind == FORMER_KIND:
        start["scenario"] = start.pop(FORMER_KIND)
    kind = "lab" if file is None else "scenario"
    asked, end = found["asked"], found["end"]
    return Bundle(kind, start, end, lines.splitlines(), asked, scenario, found["timed"], found["madeBy"])


def _checked(data: bytes) -> dict[str, Any]:
    try:
        return manifest.checked(data)
    except ValueError as problem:
        raise BadBundle(f"manifest.json: {problem}") from None


def _text(archive: zipfile.ZipFile, name: str) -> str:
    try:
        return bounded_zip.member(archive, name, LARGEST).decode("utf-8")
    except UnicodeDecodeError:
        raise BadBundle(f"{name}: expected text in UTF-8, got other bytes") from None


def scenario_of(bundle: Bundle) -> Scenario:
    """Return the scenario of a bundle.

    Raises:
        BadBundle: it holds no valid scenario.

    """
    try:
        return parse_scenario(bundle.scenario, str(bundle.start.get("scenario", "scenario")), "scenario.yaml")
    except ScenarioProblem as problem:
        raise BadBundle(f"the scenario in the bundle cannot be read: {problem}") from None


@dataclass(frozen=True)
class Difference:
    """The first difference between a replay and the recorded run: line number from 1, and both lines."""

    line: int
    recorded: str
    replayed: str


def compare(recorded: Sequence[str], replayed: Sequence[str]) -> Difference | None:
    """Return the first difference between two journals, or None when they are equal byte for byte."""
    for number in range(max(len(recorded), len(replayed))):
        before = recorded[number] if number < len(recorded) else "(nothing more)"
        now = replayed[number] if number < len(replayed) else "(nothing more)"
        if before != now:
            return Difference(number + 1, before, now)
    return None
