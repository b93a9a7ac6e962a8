"""What a scenario can expect of a lab: a table of conditions, their subjects and their meaning.

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
    """Something that can be true of a lab. `schema`: of its value; `needs`: the subjects it must name."""

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
    "lacks": Condition("the device holds none of these certificates", LIST_OF_NAMES, ("device",)),
    "opens": Condition(
        "mail that OpenSSL encrypted to these certificates opens on the device", LIST_OF_NAMES, ("device",)
    ),
    "signs_with": Condition(
        "a mail signed on the device is signed with this certificate, and OpenSSL verifies it", NAME, ("device",)
    ),
    "managed": Condition("whether the device is still managed", {"type": "boolean"}, ("device",)),
    "identity_age_below_days": Condition(
        "the device's management certificate is younger than this number of days",
        {"type": "number", "exclusiveMinimum": 0},
        ("device",),
    ),
    "state": Condition(
        "the delivery's state, see [delivery states](delivery-states.md); `none` if there is no delivery",
        {"enum": [*map(str, State), "none"]},
        ("device", "certificate"),
    ),
    "because": Condition("the result of `pfxlab explain`: the code of the first broken link, or `arrived`", TEXT),
    "records": Condition("how many records Graph has, of the `certificate` or of all", _WHOLE),
    "active": Condition("whether the connector counts as active", {"type": "boolean"}, ("connector",)),
    "processed_at_least": Condition(
        "the least number of requests that the connector has processed", _WHOLE, ("connector",)
    ),
    "struck": Condition("how often the fault has struck", _WHOLE, ("fault",)),
    "journal": Condition(
        "how many entries with these values the journal has: `count`, or `at_least` (default 1)", _ENTRY
    ),
    "secrets": Condition(
        "`absent`: no password and no private key of the scenario's certificates in what the cloud stores",
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
"""What `expect` may contain: its subjects, and at least one condition on them."""
