"""Every kind of fault that the lab can inject: which party it strikes, what it does, its settings. Only a table.

The JSON Schema of a fault, the control API's description and docs/faults.md are generated from it. What a kind does
is a function in the tables of the party that executes it: emulator/graph/injected.py and emulator/lab/http_faults.py
for HTTP, scenarios/parties/faulty_connector.py, scenarios/parties/faulty_device.py.
"""

from dataclasses import dataclass, field
from typing import Any, Final

HTTP: Final = "http"
CONNECTOR: Final = "connector"
DEVICE: Final = "device"

_LONGEST_SECONDS: Final = 600


@dataclass(frozen=True)
class Setting:
    """A setting of a kind: its JSON Schema, its default and its meaning."""

    schema: dict[str, Any]
    default: Any
    meaning: str


@dataclass(frozen=True)
class Kind:
    """A kind of fault: the party it strikes, one sentence, its settings, the causes that `explain` may report for it.

    `causes` are codes of lab/causes.py, one for each platform or moment. There are none if the certificate arrives
    anyway, nor for HTTP faults: then the client's request is missing, and `explain` reports that.
    """

    party: str
    does: str
    settings: dict[str, Setting] = field(default_factory=dict)
    causes: tuple[str, ...] = ()


def _seconds(default: float, meaning: str) -> Setting:
    return Setting({"type": "number", "minimum": 0, "maximum": _LONGEST_SECONDS}, default, meaning)


def _choice(default: str, meaning: str, *others: str) -> Setting:
    return Setting({"enum": [default, *others]}, default, meaning)


KINDS: Final = {
    "status": Kind(
        HTTP,
        "answers with an error status in the service's own error format; `after_write` carries out the request first",
        {
            "status": Setting({"type": "integer", "minimum": 400, "maximum": 599}, 503, "the status"),
            "after_write": Setting({"type": "boolean"}, False, "carry out the request before the error is answered"),
            "retry_after": _choice("absent", "form of the retry header", "integer", "fractional", "date", "ms", "both"),
            "wait": _seconds(10, "seconds in the retry header"),
        },
    ),
    "latency": Kind(HTTP, "answers late", {"seconds": _seconds(1, "real seconds of delay")}),
    "reset": Kind(HTTP, "closes the connection without an answer; the request is not carried out"),
    "lost_answer": Kind(HTTP, "carries out the request, then closes the connection without an answer"),
    "truncated": Kind(HTTP, "sends half of the answer's body and closes the connection"),
    "malformed": Kind(HTTP, "answers with the right status and a body that is not JSON, like a gateway's error page"),
    "expired_token": Kind(
        HTTP,
        "ends the request's token: 401 until the client gets a new one",
        {
            "ending": _choice(
                "expired", "how it ends; a revoked one gets a claims challenge if cp1 was declared", "revoked"
            )
        },
    ),
    "next_link": Kind(
        HTTP,
        "damages the link to the next page of a list that has one",
        {"variant": _choice("same_page", "where the link leads", "missing_page", "no_url", "other_host")},
    ),
    "odd_answer": Kind(
        HTTP,
        "gives a valid but unusual answer: unknown properties and enum values, or another 2xx status",
        {"form": _choice("unknown_values", "what is unusual", "other_status")},
    ),
    "offline": Kind(CONNECTOR, "cannot reach the service", causes=("ConnectorBusy", "ConnectorInactive")),
    "key_missing": Kind(CONNECTOR, "does not find the key that the record names", causes=("KeyNotFound",)),
    "wrong_key": Kind(CONNECTOR, "holds another key under the name in the record", causes=("DecryptFailed",)),
    "hsm_down": Kind(CONNECTOR, "gets no answer from its HSM", causes=("HsmUnavailable",)),
    "pin_refused": Kind(CONNECTOR, "uses a PIN that the HSM refuses", causes=("PinRefused",)),
    "slow_hsm": Kind(CONNECTOR, "waits for a slow HSM", {"seconds": _seconds(1, "real seconds per batch")}),
    "corrupt_result": Kind(
        CONNECTOR, "uploads a result whose encrypted bytes are damaged", causes=("EncryptedForAnotherKey",)
    ),
    "double_delivery": Kind(CONNECTOR, "uploads a result twice"),
    "lost": Kind(DEVICE, "does not check in: it is off, lost or without a network", causes=("NotAskedYet",)),
    "not_now": Kind(
        DEVICE,
        "is locked: an Apple device answers NotNow, no user is signed in to a PC, a work profile is paused",
        causes=("DeviceBusy", "UserNotSignedIn", "NotAskedYet"),
    ),
    "refuses": Kind(DEVICE, "refuses to install the certificate", causes=("DeviceRefused",)),
    "storage_full": Kind(DEVICE, "has no storage left for the certificate", causes=("StorageFull",)),
    "wrong_os": Kind(
        DEVICE,
        "runs another version of its operating system, with that version's limits",
        {
            "os_version": Setting(
                {"title": "a version such as 12.0", "type": "string", "pattern": r"^\d+(\.\d+){0,3}$"},
                "12.0",
                "the version, such as 12.0",
            )
        },
        causes=("WrongPassword",),
    ),
}
"""Name → kind."""

MATCHES: Final = {
    "route": "`METHOD PATH` or `PATH`; `*` matches anything; case and query are ignored",
    "actor": "application id, user or user agent; connector or device by name or id; a part is enough",
    "certificate": "thumbprint of the certificate concerned, or the start of it; for a device, of one that it receives",
}
"""Condition → what it is compared with."""


def schema() -> dict[str, Any]:
    """Return the JSON Schema (Draft 2020-12) of a planned fault."""
    count = {"type": "integer", "minimum": 1, "maximum": 1_000_000}
    common: dict[str, Any] = {
        "kind": {"enum": list(KINDS)},
        **{name: {"type": "string", "minLength": 1, "maxLength": 300} for name in MATCHES},
        "after": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
        "times": {"oneOf": [count, {"const": "always"}]},
        "probability": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    }
    settings: dict[str, list[Any]] = {}
    for kind in KINDS.values():
        for name, setting in kind.settings.items():
            settings.setdefault(name, []).append(setting.schema)
    common |= {name: schemas[0] if len(schemas) == 1 else {"anyOf": schemas} for name, schemas in settings.items()}
    return {"type": "object", "properties": common, "required": ["kind"], "additionalProperties": False}
