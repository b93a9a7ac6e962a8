"""/admin/world: the lab's clock, faults, switches and snapshots. Forms call the verbs of the control API."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from pfxlab.emulator.admin.page import Look, Shown, Table
from pfxlab.emulator.config import choices
from pfxlab.emulator.faults.kinds import KINDS, MATCHES
from pfxlab.emulator.lab.driver import Driver

_NAMED: Final = tuple(MATCHES)
DONE: Final = {
    "freeze": "The clock is frozen.",
    "resume": "The clock is running.",
    "advance": "The clock is advanced; everything due in between has happened.",
    "fault": "The fault is planned.",
    "take-back": "The fault is removed.",
    "switch": "The switch is set. It applies from the next request on.",
    "snapshot": "The lab's state is saved.",
    "restore": "The lab is restored from the snapshot.",
    "reset": "The lab is reset.",
}
"""Form of the page → the message after it succeeded."""


def show(look: Look, driver: Driver, problem: str = "") -> Shown:
    """Return the page; `problem` says why the last form was refused, `did` in the query which one succeeded."""
    cloud = look.cloud
    among = choices()
    switches = [
        {"name": name, "value": value, "choices": among.get(name, ())}
        for name, value in asdict(cloud.config.switches).items()
    ]
    faults = [
        {**one.to_json(), "conditions": ", ".join(f"{n} {one.to_json()[n]}" for n in _NAMED if n in one.to_json())}
        for one in cloud.faults.all()
    ]
    values = {
        "now": cloud.clock.now(),
        "frozen": cloud.clock.frozen,
        "switches": switches,
        "faults": faults,
        "kinds": {name: (kind.party, kind.does) for name, kind in KINDS.items()},
        "matches": MATCHES,
        "snapshots": driver.snapshots(),
        "problem": problem,
        "done": DONE.get(look.query.get("did", ""), "") if not problem else "",
    }
    return Shown("world.html", values, Table(("name", "value"), lambda: switches), 400 if problem else 200)


def request_of(form: Mapping[str, str]) -> tuple[str, dict[str, Any], dict[str, str], str]:
    """Return (verb of the control API, its body, values of its path, which of DONE it was) for a form of the page.

    Raises:
        ValueError: a form that the page does not have.

    """
    what = form.get("do", "")
    if what in ("freeze", "resume"):
        return "setClock", {what: True}, {}, what
    if what == "advance":
        return "setClock", {"advance": form.get("step", "").strip()}, {}, what
    if what == "fault":
        return "addFault", _fault(form), {}, what
    if what == "take-back":
        return "removeFault", {}, {"id": form.get("id", "")}, what
    if what == "switch":
        return "setSwitches", {form.get("name", ""): _value(form.get("value", "").strip())}, {}, what
    if what == "snapshot":
        return "takeSnapshot", {"name": form.get("name", "").strip()}, {}, what
    if what == "restore":
        return "restoreSnapshot", {}, {"name": form.get("name", "")}, what
    if what == "reset":
        if not form.get("sure"):
            raise ValueError("expected 'yes, everything' to be ticked, got it unticked; nothing was reset")
        return "reset", {}, {}, what
    raise ValueError(f"expected a form of this page, got {what[:40]!r}")


def _value(text: str) -> Any:
    """Return a switch's value as JSON would have it."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)


def _fault(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the fault of a form: kind, conditions, how often, and settings as `name=value` words.

    Raises:
        ValueError: a setting without a value.

    """
    body: dict[str, Any] = {"kind": form.get("kind", "")}
    body |= {name: text for name in _NAMED if (text := form.get(name, "").strip())}
    times = form.get("times", "").strip()
    if times:
        body["times"] = times if times == "always" else _value(times)
    for word in form.get("settings", "").split():
        name, sign, value = word.partition("=")
        if not sign:
            raise ValueError(f"expected settings such as status=503, got {word[:40]!r}")
        body[name] = _value(value)
    return body
