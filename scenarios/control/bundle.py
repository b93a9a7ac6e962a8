"""The reproduction bundle: one file that says how a run began, what was done to the world, and what came of it.

It holds seed, clock, switches, faults, configuration, the scenario or what the control API was asked, and the journal.
No password, token or key is in it: a replay makes key material of its own, so thumbprints are told by number, and a
scenario's passwords are replaced by others of the same shape.
"""

import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import yaml

from pfxlab.emulator.store.journal_entries import Entry
from pfxlab.scenarios.scenario.loader import Scenario, ScenarioProblem, parse_scenario
from pfxlab.scenarios.scenario.runner import Run
from pfxlab.scenarios.yaml_file import read_yaml

if TYPE_CHECKING:
    from pfxlab.scenarios.lab.world import World

_FORMER_KIND: Final = "story"
"""What bundles of earlier versions call a scenario; they are read as well."""

_FORMAT: Final = "pfxlab bundle 1"
_DIGESTS: Final = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{40}|[0-9A-F]{64}|[0-9A-F]{40})\b")
_SIZES: Final = ("blob_bytes", "payload_bytes")
"""Fields that measure key material."""

_ALL_ENTRIES: Final = 10_000_000
_LARGEST: Final = 256 * 1024 * 1024
"""Bytes of a member that are read; a journal of a million entries has about that."""


class BadBundle(ValueError):
    """A file that is no bundle, or a damaged one; the text says what was expected and what to do."""


@dataclass(frozen=True)
class Bundle:
    """A run as it can be passed on. `kind`: `scenario`, or `lab` for one that a tool drove.

    `start`: seed, domain, time and parts it began with. `asked`: what the control API was asked, each with the number
    of requests that had come before. `journal`: canonical lines. `timed`: its times can be compared.
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
    """Return journal entries as lines that two runs of one seed share byte for byte.

    Certificate and key digests are key material: each is told by the number of its first appearance.
    """
    seen: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return seen.setdefault(found.group().lower(), f"digest-{len(seen) + 1}")

    lines = []
    for entry in entries:
        told = asdict(entry)
        if not timed:
            del told["time"]
        # Certificates and PFX of the same plan differ by a few bytes from key to key.
        told["fields"] = {n: "…" if n in _SIZES else v for n, v in told["fields"].items()}
        lines.append(_DIGESTS.sub(number, json.dumps(told, ensure_ascii=False)))
    return lines


def _shape(secret: str) -> str:
    """Return a text of the same length and kinds of characters, which is what a password does in a run."""
    return "".join("ü" if not c.isascii() else "x" if c.isalpha() else "0" if c.isdigit() else "-" for c in secret)


def without_passwords(text: str) -> str:
    """Return a scenario with each password replaced by one of the same shape; one without any is left as it is."""
    body = read_yaml(text)
    masked = _masked(body)
    return text if masked == body else yaml.safe_dump(masked, allow_unicode=True, sort_keys=False, width=120)


def _masked(body: Any) -> Any:
    """Return JSON values with each password replaced by one of the same shape."""
    if isinstance(body, dict):
        return {n: _shape(str(v)) if n == "password" else _masked(v) for n, v in body.items()}
    return [_masked(one) for one in body] if isinstance(body, list) else body


def of_run(run: Run) -> Bundle:
    """Return the bundle of a scenario that has run."""
    start = {"seed": run.seed, "time": run.scenario.start.isoformat(), "scenario": run.scenario.name}
    end = {"outcome": run.outcome, "why": run.why, **run.end}
    return Bundle("scenario", start, end, canonical(run.journal), scenario=without_passwords(run.scenario.text))


def _without_secrets(tenants: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the configured tenants with the names of users and applications, and nothing they sign in with."""
    return [
        {
            **{name: value for name, value in tenant.items() if name not in ("users", "apps")},
            "users": [{n: v for n, v in user.items() if n != "password"} for user in tenant.get("users", ())],
            "apps": [{n: v for n, v in app.items() if n != "secret"} for app in tenant.get("apps", ())],
        }
        for tenant in tenants
    ]


def of_world(world: "World") -> Bundle:
    """Return the bundle of a lab that a tool drove, up to now."""
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
    manifest = {
        "format": _FORMAT,
        "madeBy": bundle.made_by,
        "kind": bundle.kind,
        "timed": bundle.timed,
        "start": bundle.start,
        "end": bundle.end,
        "asked": bundle.asked,
    }
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False))
        if bundle.scenario:
            archive.writestr("scenario.yaml", bundle.scenario)
        archive.writestr("journal.jsonl", "".join(f"{line}\n" for line in bundle.journal))
    return held.getvalue()


def _member(archive: zipfile.ZipFile, name: str) -> str:
    if archive.getinfo(name).file_size > _LARGEST:
        raise BadBundle(f"expected {name} of at most {_LARGEST:,} bytes, got more")
    return archive.read(name).decode("utf-8")


def unpack(data: bytes) -> Bundle:
    """Return the bundle in the bytes of a file.

    Raises:
        BadBundle: it is none, damaged, or of another version.

    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            manifest = json.loads(_member(archive, "manifest.json"))
            if manifest["format"] != _FORMAT:
                raise BadBundle(
                    f"expected {_FORMAT!r}, got {str(manifest['format'])[:40]!r}; create it again with this version"
                )
            kind, start = str(manifest["kind"]), dict(manifest["start"])
            if kind == _FORMER_KIND:
                start["scenario"] = start.pop(_FORMER_KIND)
            file = {"scenario": "scenario.yaml", _FORMER_KIND: f"{_FORMER_KIND}.yaml"}.get(kind)
            scenario = "" if file is None else _member(archive, file)
            kind = "scenario" if file is not None else kind
            journal = _member(archive, "journal.jsonl").splitlines()
        if kind not in ("scenario", "lab"):
            raise BadBundle(f"expected the run of a scenario or a lab, got {kind[:40]!r}")
        return Bundle(
            kind,
            start,
            dict(manifest["end"]),
            journal,
            list(manifest["asked"]),
            scenario,
            bool(manifest["timed"]),
            str(manifest["madeBy"]),
        )
    except BadBundle:
        raise
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, RuntimeError, OSError):
        raise BadBundle(
            "expected a bundle of `pfxlab bundle`, got a damaged or another file; create it again"
        ) from None


def scenario_of(bundle: Bundle) -> Scenario:
    """Return the scenario of a bundle.

    Raises:
        BadBundle: it holds none that can be told.

    """
    try:
        return parse_scenario(bundle.scenario, str(bundle.start.get("scenario", "scenario")), "scenario.yaml")
    except ScenarioProblem as problem:
        raise BadBundle(f"the scenario in the bundle cannot be read: {problem}") from None


@dataclass(frozen=True)
class Difference:
    """The first place where a replay went another way: line number from 1, what was recorded, what came."""

    line: int
    recorded: str
    came: str


def compare(recorded: Sequence[str], came: Sequence[str]) -> Difference | None:
    """Return the first difference of two journals, or None when they are the same byte for byte."""
    for number in range(max(len(recorded), len(came))):
        before = recorded[number] if number < len(recorded) else "(nothing more)"
        now = came[number] if number < len(came) else "(nothing more)"
        if before != now:
            return Difference(number + 1, before, now)
    return None
