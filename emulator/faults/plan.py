"""Planned faults, and the decision whether one strikes: by count, or by seeded probability.

Pure except for its counters: the caller asks `strike` before it acts, and carries out the fault it returns.
"""

import fnmatch
import itertools
import math
import random
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from pfxlab.emulator.faults.kinds import HTTP, KINDS, MATCHES, schema
from pfxlab.emulator.wire.json_schema import draft_2020_12, narrowed, place_of, problem_of

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

ALWAYS: Final = "always"
_THUMBPRINT: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")
_SERIAL: Final = itertools.count(1)


class BadFault(ValueError):
    """A fault that cannot be; the text says where, what was expected, and what came."""


@dataclass(frozen=True)
class Occasion:
    """Something that is about to happen, as faults see it. Empty where it does not apply.

    `actor`: all names of who does it, in one text; `certificate`: text that names thumbprints.
    """

    party: str
    method: str = ""
    path: str = ""
    actor: str = ""
    certificate: str = ""


@dataclass(frozen=True)
class Fault:
    """A planned fault: after `after` matching occasions it strikes `times` times (None: always), with a probability.

    `settings` are the kind's, complete.
    """

    kind: str
    route: str = ""
    actor: str = ""
    certificate: str = ""
    after: int = 0
    times: int | None = 1
    probability: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, occasion: Occasion) -> bool:
        """Return whether an occasion is of the kind's party and meets every condition."""
        if KINDS[self.kind].party != occasion.party:
            return False
        if self.actor.lower() not in occasion.actor.lower() or not self._of_certificate(occasion):
            return False
        return self._on_route(occasion)

    def _of_certificate(self, occasion: Occasion) -> bool:
        wanted = self.certificate.lower()
        return not wanted or any(one.startswith(wanted) for one in _THUMBPRINT.findall(occasion.certificate.lower()))

    def _on_route(self, occasion: Occasion) -> bool:
        method, _, path = self.route.rpartition(" ")
        if occasion.path.lower().endswith("/$batch") and not self.route.lower().endswith("$batch"):
            # A batch is not matched itself; the requests in it are, one by one.
            return False
        if method and method.upper() != occasion.method.upper():
            return False
        return not path or fnmatch.fnmatchcase(occasion.path.lower().rstrip("/"), path.lower().rstrip("/"))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values that plan the same fault again."""
        conditions = {name: getattr(self, name) for name in MATCHES if getattr(self, name)}
        times = {"times": ALWAYS if self.times is None else self.times, "after": self.after}
        return {"kind": self.kind, **conditions, **times, "probability": self.probability, **self.settings}


@cache
def _validator() -> "Draft202012Validator":
    return draft_2020_12(schema())


def read_fault(raw: object) -> Fault:
    """Return the fault that JSON values ask for, with every setting of its kind.

    Raises:
        BadFault: an unknown kind, condition or setting, or a value it does not take.

    """
    error = next(iter(sorted(_validator().iter_errors(raw), key=lambda e: list(map(str, e.absolute_path)))), None)
    if error is not None:
        error = narrowed(error)
        raise BadFault(f"{place_of(error) or 'fault'}: {problem_of(error)}")
    body: dict[str, Any] = dict(raw)  # type: ignore[call-overload]
    endless = next((n for n, v in body.items() if isinstance(v, float) and not math.isfinite(v)), None)
    if endless is not None:
        raise BadFault(f"{endless}: expected a number, got {body[endless]}")
    kind = KINDS[body["kind"]]
    known = {"kind", "after", "times", "probability", *MATCHES}
    foreign = sorted(set(body) - known - set(kind.settings))
    if foreign:
        takes = ", ".join(kind.settings) or "no settings"
        raise BadFault(f"{foreign[0]}: the kind {body['kind']} takes {takes}")
    if "route" in body and kind.party != HTTP:
        raise BadFault(f"route: the kind {body['kind']} applies to a {kind.party}, which has no routes")
    settings = {name: body.get(name, setting.default) for name, setting in kind.settings.items()}
    for name, setting in kind.settings.items():
        problem = next(iter(draft_2020_12(setting.schema).iter_errors(settings[name])), None)
        if problem is not None:
            raise BadFault(f"{name}: the kind {body['kind']}: {problem_of(problem)}")
    times = body.get("times", 1)
    plain = {name: body[name] for name in ("kind", "after", "probability", *MATCHES) if name in body}
    return Fault(**plain, times=None if times == ALWAYS else times, settings=settings)


@dataclass(frozen=True)
class Planned:
    """A fault with its name, and what has become of it: occasions that fitted, and how often it struck."""

    id: str
    fault: Fault
    fitted: int = 0
    struck: int = 0
    serial: int = field(default_factory=_SERIAL.__next__, compare=False)
    """Tells it from another fault that is given the same name after a restore."""

    @property
    def spent(self) -> bool:
        """Return whether it will strike no more."""
        return self.fault.times is not None and self.struck >= self.fault.times

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"id": self.id, **self.fault.to_json(), "fitted": self.fitted, "struck": self.struck}


class Faults:
    """The faults of one lab, in the order in which they were planned; only the first that is due strikes."""

    def __init__(self, seed: int) -> None:
        self._seed, self._given = seed, 0
        self._planned: dict[str, Planned] = {}
        self.on_change: Callable[[], None] = lambda: None
        """Called when faults, or their counts, are others than before."""

    @property
    def any(self) -> bool:
        """Return whether there is a fault at all; without one nothing needs to be asked."""
        return bool(self._planned)

    def add(self, fault: Fault) -> Planned:
        """Plan a fault from now on."""
        self._given += 1
        planned = Planned(f"fault-{self._given}", fault)
        self._planned[planned.id] = planned
        self.on_change()
        return planned

    def remove(self, fault_id: str) -> Planned | None:
        """Take a fault back and return what had become of it, or None when there is none of that name."""
        removed = self._planned.pop(fault_id, None)
        self.on_change()
        return removed

    def clear(self) -> None:
        """Take every fault back."""
        self._planned.clear()
        self.on_change()

    def get(self, fault_id: str) -> Planned | None:
        """Return a fault by its name."""
        return self._planned.get(fault_id)

    def all(self) -> list[Planned]:
        """Return every fault."""
        return list(self._planned.values())

    def strike(self, occasion: Occasion, kinds: Collection[str]) -> Planned | None:
        """Return the fault of one of these kinds that strikes now, or None. Each that fits counts the occasion."""
        found, counted = None, False
        for planned in self.all():
            if planned.fault.kind not in kinds or not planned.fault.fits(occasion):
                continue
            planned = replace(planned, fitted=planned.fitted + 1)
            if found is None and self._is_due(planned):
                planned = found = replace(planned, struck=planned.struck + 1)
            self._planned[planned.id] = planned
            counted = True
        if counted:
            self.on_change()
        return found

    def _is_due(self, planned: Planned) -> bool:
        fault = planned.fault
        if planned.spent or planned.fitted <= fault.after:
            return False
        if fault.probability >= 1.0:
            return True
        # Each occasion has its own random number, so that other faults do not change the outcome.
        throw = random.Random(f"{self._seed}/{planned.id}/{planned.fitted}").random()  # noqa: S311 - repeatable on purpose
        return throw < fault.probability

    def saved(self) -> dict[str, Any]:
        """Return everything as JSON values, for a snapshot."""
        return {"given": self._given, "planned": [planned.to_json() for planned in self.all()]}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go back to what `saved` returned.

        Raises:
            BadFault: it is not what `saved` returns.

        """
        planned = {}
        for one in saved["planned"]:
            counted = {name: one[name] for name in ("id", "fitted", "struck")}
            fault = read_fault({name: value for name, value in one.items() if name not in counted})
            planned[str(one["id"])] = Planned(fault=fault, **counted)
        self._given, self._planned = int(saved["given"]), planned
