"""What may be expected of a lab: a table of conditions, what stands beside each, what it means.

The checks themselves need devices and connectors: scenarios/scenario/expectations.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pfxlab.emulator.lab.schemas import LIST_OF_NAMES, NAME, TEXT, UPN, closed
from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.store.journal_entries import FILTERS


@dataclass(frozen=True)
class Condition:
    """Something that can be true of a lab. `schema`: of its value; `needs`: what it is said of."""

    means: str
    schema: Mapping[str, Any]
    needs: tuple[str, ...] = ()


_WHOLE: Final = {"type": "integer", "minimum": 0}
_ENTRY: Final = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in FILTERS},
    "additionalProperties": False,
    "minProperties": 1,
}

CONDITIONS: Final = {
    "holds": Condition("the device holds exactly these certificates", LIST_OF_NAMES, ("device",)),
    "lacks": Condition("the device holds none of these", LIST_OF_NAMES, ("device",)),
    "opens": Condition(
        "mail that OpenSSL encrypted to these certificates opens on the device", LIST_OF_NAMES, ("device",)
    ),
    "signs_with": Condition(
        "a mail signed on the device is signed with this certificate, and OpenSSL verifies it", NAME, ("device",)
    ),
    "managed": Condition("whether the device is still managed", {"type": "boolean"}, ("device",)),
    "identity_age_below_days": Condition(
        "the device's management identity began less than so many days ago",
        {"type": "number", "exclusiveMinimum": 0},
        ("device",),
    ),
    "state": Condition(
        "the delivery's state, see [the life of a delivery](delivery-states.md); `none` without one",
        {"enum": [*map(str, State), "none"]},
        ("device", "certificate"),
    ),
    "because": Condition("what `pfxlab explain` says: the code of the first broken link, or `arrived`", TEXT),
    "records": Condition("how many records Graph has, of the `certificate` or of all", _WHOLE),
    "active": Condition("whether the connector counts as active", {"type": "boolean"}, ("connector",)),
    "processed_at_least": Condition("how many requests the connector has taken at least", _WHOLE, ("connector",)),
    "struck": Condition("how often the fault has struck", _WHOLE, ("fault",)),
    "journal": Condition(
        "how many entries with these values the journal has: `count`, or `at_least` (1 when left out)", _ENTRY
    ),
    "secrets": Condition(
        "`absent`: no password and no private key of the scenario's certificates in what the cloud keeps",
        {"const": "absent"},
    ),
}

_BESIDE: Final = {
    "device": NAME,
    "certificate": NAME,
    "user": UPN,
    "connector": NAME,
    "fault": TEXT,
    "count": _WHOLE,
    "at_least": _WHOLE,
}

SCHEMA: Final = {
    **closed({**_BESIDE, **{name: one.schema for name, one in CONDITIONS.items()}}, []),
    "anyOf": [{"required": [name, *one.needs]} for name, one in CONDITIONS.items()],
}
"""What may stand below `expect`: what is spoken of, and at least one thing that must be true of it."""
