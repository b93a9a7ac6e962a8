"""The life of one delivery: an imported certificate, under a profile, to a device. The whole machine is `TABLE`.

`docs/delivery-states.md` is drawn from it. The states are the lab's own; sources of the events:
sources.md#how-delivery-works, sources.md#connector-events, sources.md#removal.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias


class State(StrEnum):
    """Where a delivery stands."""

    WANTED = "wanted"  # a profile targets the device, the device has not asked since
    REQUESTED = "requested"  # the device asked; waits for a connector
    LEASED = "leased"  # a connector works on it
    READY = "ready"  # re-encrypted for the device, waits for its next check-in
    OFFERED = "offered"  # sent; the device has not confirmed yet
    INSTALLED = "installed"  # the device proved it by thumbprint or certificate list
    FAILED = "failed"  # the connector or the device refused; the reason is kept
    SUPERSEDED = "superseded"  # a newer certificate took its place before it was delivered
    REMOVING = "removing"  # no longer wanted, may be on the device
    REMOVED = "removed"
    LEFT = "left"  # its profile reaches the device no more; it stays there, as Windows and macOS let it


class Trigger(StrEnum):
    """What can happen to a delivery."""

    DEVICE_ASKED = "device asked"
    LEASE_TAKEN = "lease taken"
    LEASE_EXPIRED = "lease expired"
    ATTEMPT_FAILED = "attempt failed"
    GAVE_UP = "last attempt failed"
    RECRYPTED = "re-encrypted"
    SENT = "sent to device"
    CONFIRMED = "device confirmed"
    REFUSED = "device refused"
    MISSING = "missing on device"
    KEY_RENEWED = "device key renewed"
    SOURCE_CHANGED = "record changed"
    NEWER_CAME = "newer certificate"
    WITHDRAWN = "no longer targeted"
    TAKEN_BACK = "taken back from device"
    LEFT_THERE = "left on device"
    TARGETED = "targeted again"
    REMOVAL_CONFIRMED = "removal confirmed"
    DEVICE_GONE = "device gone"
    RETRY = "sync asked for"


_S, _T = State, Trigger
_NOT_SENT = (_S.WANTED, _S.REQUESTED, _S.LEASED, _S.READY, _S.FAILED)
_SENT = (_S.OFFERED, _S.INSTALLED)

TABLE: dict[tuple[State, Trigger], State] = {
    (_S.WANTED, _T.DEVICE_ASKED): _S.REQUESTED,
    (_S.REQUESTED, _T.LEASE_TAKEN): _S.LEASED,
    (_S.LEASED, _T.LEASE_EXPIRED): _S.REQUESTED,
    (_S.LEASED, _T.ATTEMPT_FAILED): _S.REQUESTED,
    (_S.LEASED, _T.GAVE_UP): _S.FAILED,
    (_S.LEASED, _T.RECRYPTED): _S.READY,
    (_S.READY, _T.SENT): _S.OFFERED,
    (_S.OFFERED, _T.SENT): _S.OFFERED,
    (_S.OFFERED, _T.CONFIRMED): _S.INSTALLED,
    (_S.OFFERED, _T.REFUSED): _S.FAILED,
    (_S.OFFERED, _T.MISSING): _S.READY,
    (_S.INSTALLED, _T.MISSING): _S.WANTED,
    (_S.FAILED, _T.RETRY): _S.WANTED,
    **{(s, _T.KEY_RENEWED): _S.WANTED for s in (_S.REQUESTED, _S.LEASED, _S.READY, _S.OFFERED, _S.FAILED)},
    **{(s, _T.SOURCE_CHANGED): _S.WANTED for s in (*_NOT_SENT, *_SENT)},
    **{(s, _T.NEWER_CAME): _S.SUPERSEDED for s in _NOT_SENT},
    **{(s, _T.WITHDRAWN): _S.REMOVED for s in (*_NOT_SENT, _S.SUPERSEDED)},
    **{(s, _T.TAKEN_BACK): _S.REMOVING for s in (*_NOT_SENT, *_SENT)},
    **{(s, _T.LEFT_THERE): _S.LEFT for s in (*_NOT_SENT, *_SENT)},
    (_S.REMOVING, _T.REMOVAL_CONFIRMED): _S.REMOVED,
    **{(s, _T.TARGETED): _S.WANTED for s in (_S.REMOVING, _S.REMOVED, _S.SUPERSEDED, _S.LEFT)},
    **{(s, _T.DEVICE_GONE): _S.REMOVED for s in State if s is not _S.REMOVED},
}


Columns: TypeAlias = dict[str, int | None]
_NO_LEASE: Final[Columns] = {"lease_id": None, "leased_by": None, "lease_until": None}
_FRESH: Final[Columns] = {
    **_NO_LEASE, "payload": None, "attempts": 0, "not_before": None, "device_key_thumbprint": None
}  # fmt: skip
_PAYLOAD_DONE: Final = (_S.INSTALLED, _S.REMOVED, _S.SUPERSEDED, _S.REMOVING, _S.LEFT)


def _columns(state: State) -> Columns:
    columns: Columns = {}
    if state is _S.WANTED:
        columns = dict(_FRESH)
    elif state is not _S.LEASED:
        columns = dict(_NO_LEASE)
    if state is not _S.FAILED:
        columns["error_code"] = 0
    if state in _PAYLOAD_DONE:
        columns["payload"] = None
    return columns


_COLUMNS: Final[Mapping[State, Columns]] = {state: _columns(state) for state in State}
_PRESENCE: Final = {_T.SENT: True, _T.REMOVAL_CONFIRMED: False, _T.DEVICE_GONE: False}
"""What tells whether the certificate may be on the device."""


def columns_set(trigger: Trigger, after: State) -> Columns:
    """Return what a step sets in the delivery's other columns, unless the step's own values say otherwise."""
    presence = {"maybe_on_device": _PRESENCE[trigger]} if trigger in _PRESENCE else {}
    return {"reason": None, **_COLUMNS[after], **presence}


class IllegalTransition(Exception):
    """The service asked for a step the table does not have: a defect of the emulator."""


def next_state(state: State, trigger: Trigger) -> State:
    """Return the state that follows.

    Raises:
        IllegalTransition: the table has no such step.

    """
    try:
        return TABLE[state, trigger]
    except KeyError:
        raise IllegalTransition(f"expected a step of the delivery table, got {trigger!s} in {state!s}") from None


def allowed(trigger: Trigger) -> dict[State, State]:
    """Return the states from which a trigger leads on, and where to: what a bulk statement may touch."""
    return {before: after for (before, on), after in TABLE.items() if on is trigger}


def mermaid() -> str:
    """Return the table as a Mermaid state diagram, one arrow for each step."""
    arrows = "\n".join(f"    {state} --> {after}: {trigger}" for (state, trigger), after in TABLE.items())
    return f"stateDiagram-v2\n    [*] --> {State.WANTED}\n{arrows}\n"
