"""Load plans: YAML files with the path of the lab to load, the shape of the load, and thresholds. See docs/load.md."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pfxlab.emulator.wire.platforms import PLATFORMS
from pfxlab.scenarios import yaml_file
from pfxlab.scenarios.load.shapes import KINDS, SHORTEST_STEP, Shape

PLANS: Final = files(__package__) / "plans"
PATHS: Final = {
    "graph": ("requests", "imports, and lists of them, over Graph"),
    "checkin": ("check-ins", "devices that check in and fetch their certificates, with a connector at work"),
    "enrollment": (
        "enrolments",
        "new devices, from enrolment to the first installed certificate, with a connector at work",
    ),
    "connector": (
        "deliveries",
        "connectors that lease, re-encrypt and complete, against a queue that never runs empty",
    ),
    "crypto": ("deliveries", "only the connector's re-encryption, in memory"),
}
"""Path → the unit of its rate, and a description."""

_BATCHED: Final = ("connector", "crypto")
"""Paths on which an action is a batch of deliveries."""

_USUAL_BATCH: Final = 100
_NO_RATE: Final = 1.0
"""Placeholder for the rate of a plan with a share of OpenSSL's, until `with_rate` sets it."""

_LARGEST_LEASE: Final = 500
WHOLE_RUN: Final = ("unsent_percent", "saturation_per_second", "openssl_ratio")
"""Measures of the whole run only, not of one kind of request."""

GRAPH_REQUESTS: Final = ("import", "filter", "list")
MEASURES: Final = {
    "mean_ms": "mean latency",
    "p50_ms": "median latency",
    "p90_ms": "90th percentile of latency",
    "p95_ms": "95th percentile of latency",
    "p99_ms": "99th percentile of latency",
    "p99.9_ms": "99.9th percentile of latency",
    "max_ms": "longest latency",
    "failures_percent": "share of requests that failed",
    "unsent_percent": "share of the offered load that was never sent",
    "per_second": "throughput over the whole run",
    "saturation_per_second": "the saturation point, or the highest throughput if it was not reached",
    "openssl_ratio": "throughput to OpenSSL's private operations per second on all cores in the same run",
}
"""Measures of thresholds, with descriptions. Latencies are of the kind of request in `of`, or of all requests."""


class PlanProblem(ValueError):
    """A plan that cannot be used; the text says where, what was expected and what was found."""


@dataclass(frozen=True)
class Threshold:
    """Bounds of a measure: it must not exceed `most` or fall below `least`."""

    measure: str
    of: str = ""
    most: float | None = None
    least: float | None = None

    def text(self) -> str:
        """Return it as a phrase, such as `p95_ms of import at most 50`."""
        bounds = [f"at least {self.least:g}"] if self.least is not None else []
        bounds += [f"at most {self.most:g}"] if self.most is not None else []
        return f"{self.measure}{f' of {self.of}' if self.of else ''} {' and '.join(bounds)}"


@dataclass(frozen=True)
class LoadPlan:
    """A load plan.

    `pace`: actions per second of one simulated user; `batch`: deliveries per action, 1 except for connector and
    crypto. `processes`: load generators, each with a process beside it for CPU-bound work.
    `openssl_share`: the highest rate is this share of OpenSSL's private operations per second on all cores of the
    machine, measured when the run begins; 0 when the plan gives a rate. `share_users`: how many simulated users share
    that highest rate; 0 derives their number from the pace.
    """

    name: str
    title: str
    path: str
    shape: Shape
    pace: float = 1.0
    batch: int = 1
    processes: int = 1
    seed: int = 7
    platforms: Mapping[str, int] = field(default_factory=lambda: {"ios": 1, "windows": 1})
    users: int = 20
    devices: int = 60
    certificates: int = 2
    mix: Mapping[str, int] = field(default_factory=lambda: {"import": 8, "filter": 1, "list": 1})
    key_bits: int = 2048
    openssl_share: float = 0.0
    share_users: int = 0
    thresholds: tuple[Threshold, ...] = ()

    @property
    def unit(self) -> str:
        """Return the unit of the rate."""
        return PATHS[self.path][0]

    def users_for(self, rate: float) -> int:
        """Return the number of simulated users, at least one, that offer a rate."""
        return max(1, math.ceil(rate / (self.pace * self.batch) - 1e-9))

    def offered(self, moment: float) -> float:
        """Return the rate that the simulated users offer together at a moment, in seconds since the start."""
        rate = self.shape.at(moment)
        return 0.0 if rate is None else self.users_for(rate) * self.pace * self.batch


def _number(least: float = 0, *, above: bool = False, **more: Any) -> dict[str, Any]:
    return {"type": "number", "exclusiveMinimum" if above else "minimum": least, **more}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a load plan."""
    whole = {"type": "integer", "minimum": 1}
    text = {"type": "string", "minLength": 1}
    weights = {"type": "object", "minProperties": 1, "additionalProperties": False}
    paths = "; ".join(f"{name}: {about}, counted in {unit}" for name, (unit, about) in PATHS.items())
    shape = {
        "type": "object",
        "properties": {
            "kind": {
                "enum": list(KINDS),
                "description": "; ".join(f"{name}: {about}" for name, about in KINDS.items()),
            },
            "rate": _number(above=True, description="the highest rate, per second"),
            "openssl_share": _number(
                above=True,
                maximum=10,
                description="connector, crypto: the highest rate as a share of what OpenSSL does on all cores, so that"
                " the plan fits every machine",
            ),
            "start": _number(description="the lowest rate, per second; when left out the first step of a ramp, else 0"),
            "seconds": _number(above=True, maximum=86_400, description="how long the run is"),
            "steps": {
                **whole,
                "maximum": 1000,
                "description": "steps of a ramp, pieces of other shapes; 10 when left out",
            },
        },
        "required": ["kind", "seconds"],
        "oneOf": [{"required": ["rate"]}, {"required": ["openssl_share"]}],
        "additionalProperties": False,
    }
    threshold = {
        "type": "object",
        "properties": {
            "measure": {"enum": list(MEASURES), "description": "; ".join(f"{n}: {t}" for n, t in MEASURES.items())},
            "of": {
                **text,
                "description": "a kind of request as the report names it, such as `import` or `check-in ios`",
            },
            "most": _number(description="not more than this"),
            "least": _number(description="not less than this"),
        },
        "required": ["measure"],
        "anyOf": [{"required": ["most"]}, {"required": ["least"]}],
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A load plan of PFX Lab",
        "type": "object",
        "properties": {
            "title": {**text, "description": "what the run should find out"},
            "path": {"enum": list(PATHS), "description": paths},
            "shape": {**shape, "description": "how the load goes over time"},
            "pace": _number(above=True, description="actions per second of one simulated user; 1 when left out"),
            "batch": {
                **whole,
                "maximum": 1000,
                "description": "connector, crypto: deliveries per action; 100 when left out",
            },
            "processes": {**whole, "maximum": 64, "description": "load generators; 1 when left out"},
            "seed": {"type": "integer", "minimum": 0, "description": "seed of random decisions; 7 when left out"},
            "platforms": {
                **weights,
                "properties": {name: {"type": "integer", "minimum": 0} for name in PLATFORMS},
                "description": "checkin, enrollment, connector: platforms of the devices by weight",
            },
            "users": {**whole, "maximum": 10_000, "description": "test users; 20 when left out"},
            "devices": {**whole, "maximum": 100_000, "description": "checkin: devices; 60 when left out"},
            "certificates": {**whole, "maximum": 20, "description": "certificates of each user; 2 when left out"},
            "mix": {
                **weights,
                "properties": {name: {"type": "integer", "minimum": 0} for name in GRAPH_REQUESTS},
                "description": "graph: requests by weight; 8 imports to 1 filter and 1 list when left out",
            },
            "key_bits": {"enum": [2048, 3072, 4096], "description": "connector, crypto: the connector's key"},
            "thresholds": {"type": "array", "items": threshold, "description": "what the result must be"},
        },
        "required": ["title", "path", "shape"],
        "additionalProperties": False,
    }


def parse_plan(text: str, name: str, place: str) -> LoadPlan:
    """Return the plan in a text; errors name `place` as its source.

    Raises:
        PlanProblem: it is not YAML or not a plan; with the line.

    """
    try:
        root, body = yaml_file.checked(text, schema(), place, "a plan with title, path and shape")
    except yaml_file.InvalidYaml as problem:
        raise PlanProblem(str(problem)) from None
    for where, expected in _mistakes(body):
        line, named = yaml_file.line_of(root, where), where[-1]
        raise PlanProblem(f"{place}, line {line}: {named}: {expected}")
    given = {key: _whole(value) for key, value in body.items() if key not in ("shape", "thresholds")}
    if body["path"] in _BATCHED:
        given.setdefault("batch", _USUAL_BATCH)
    shape = {key: _whole(value) for key, value in body["shape"].items()}
    given["openssl_share"] = shape.pop("openssl_share", 0.0)
    thresholds = tuple(Threshold(**one) for one in body.get("thresholds", ()))
    return LoadPlan(name=name, shape=Shape(**{"rate": _NO_RATE, **shape}), thresholds=thresholds, **given)


Mistake = tuple[list[str | int], str]
"""The place in the file, and a sentence with what was expected and what was found."""


def _mistakes(body: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yield mistakes that a JSON Schema cannot express."""
    yield from _wrong_batch(body)
    yield from _wrong_shape(body)
    for weights in ("platforms", "mix"):
        if weights in body and not any(body[weights].values()):
            yield [weights], "expected a weight above 0, got none"
    for number, one in enumerate(body.get("thresholds", ())):
        if "of" in one and one["measure"] in WHOLE_RUN:
            whole = f"expected none with {one['measure']}, which is of the whole run, got {one['of']!r}"
            yield ["thresholds", number, "of"], whole


def _wrong_batch(body: Mapping[str, Any]) -> Iterator[Mistake]:
    batch = body.get("batch", 1)
    if body["path"] not in _BATCHED and batch != 1:
        yield ["batch"], f"expected 1, or the path connector or crypto, got {batch}"
    elif body["path"] == "connector" and batch > _LARGEST_LEASE:
        yield ["batch"], f"expected at most {_LARGEST_LEASE}, what a lease holds, got {batch}"


def _wrong_shape(body: Mapping[str, Any]) -> Iterator[Mistake]:
    shape, share = body["shape"], "openssl_share" in body["shape"]
    if share and body["path"] not in _BATCHED:
        yield ["shape", "openssl_share"], f"expected a rate for the path {body['path']}"
    if share and "start" in shape:
        yield ["shape", "start"], f"expected none beside openssl_share, got {shape['start']:g}"
    steps = shape.get("steps", Shape.steps)
    if shape["kind"] == "ramp" and shape["seconds"] / steps < SHORTEST_STEP:
        short = f"expected steps of at least {SHORTEST_STEP:g} seconds, got {steps} in {shape['seconds']:g} seconds"
        yield ["shape", "steps"], short
    if not share and shape.get("start", 0) > shape["rate"]:
        yield ["shape", "start"], f"expected at most the rate, {shape['rate']:g}, got {shape['start']:g}"


def _whole(value: Any) -> Any:
    """Return a number without a fraction as an integer: for JSON Schema 5.0 is one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def with_rate(plan: LoadPlan, openssl: float) -> LoadPlan:
    """Return a plan with its share of OpenSSL's private operations per second as its rate."""
    rate = plan.openssl_share * openssl
    pace = rate / (plan.share_users * plan.batch) if plan.share_users else plan.pace
    return replace(plan, shape=replace(plan.shape, rate=rate), openssl_share=0.0, pace=pace)


def read_plan(path: Path) -> LoadPlan:
    """Return the plan in a file.

    Raises:
        PlanProblem: the file cannot be read, is not YAML, or is no plan; with the line.

    """
    try:
        text = yaml_file.text_of(path)
    except yaml_file.InvalidYaml as problem:
        raise PlanProblem(str(problem)) from None
    return parse_plan(text, path.stem, str(path))


def built_in() -> dict[str, LoadPlan]:
    """Return the plans that come with the lab, by name."""
    found = sorted(Path(str(entry)) for entry in PLANS.iterdir() if entry.name.endswith(".yaml"))
    return {path.stem: read_plan(path) for path in found}


def changed(
    plan: LoadPlan, *, kind: str | None = None, rate: float | None = None, seconds: float | None = None,
    users: int | None = None, processes: int | None = None,
) -> LoadPlan:  # fmt: skip
    """Return a plan with what the command line says otherwise; `users` is how many simulated users share the rate.

    Raises:
        PlanProblem: a rate that is no number.

    """
    if rate is not None and not math.isfinite(rate):
        raise PlanProblem(f"expected a number as the rate, got {rate}")
    before = plan.shape
    shape = replace(
        before,
        kind=kind or before.kind,
        rate=rate or before.rate,
        seconds=seconds or before.seconds,
        # Scale the lowest rate with the highest.
        start=before.start * rate / before.rate if rate and before.start is not None else before.start,
    )
    if shape.kind == "ramp":
        # Keep as many of the plan's steps as fit.
        shape = replace(shape, steps=max(1, min(shape.steps, int(shape.seconds / SHORTEST_STEP))))
    share = 0.0 if rate else plan.openssl_share
    plan = replace(plan, shape=shape, processes=processes or plan.processes, openssl_share=share)
    if users is None:
        return plan
    return replace(plan, share_users=users) if share else replace(plan, pace=shape.rate / (users * plan.batch))
