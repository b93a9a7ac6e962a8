"""Every kind of fault the lab can inject: whose it is, what it does, what can be set about it. A table, nothing else.

The JSON Schema of a fault, the control API's description and the page docs/faults.md are made of it. What a kind does
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
    """Something that can be set about a kind: its JSON Schema, what holds when it is left out, what it means."""

    schema: dict[str, Any]
    default: Any
    meaning: str


@dataclass(frozen=True)
class Kind:
    """A kind of fault: the party it strikes, one sentence, its settings, the causes that `explain` may report for it.

    `causes` are codes of lab/causes.py, one for each platform or moment. There are none where the certificate arrives
    all the same, and for HTTP faults: what is missing then is the client's request, and `explain` speaks of that.
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
        "answers with an error status in the shape of the service that was asked; `after_write` lets the request do its"
        " work first",
        {
            "status": Setting({"type": "integer", "minimum": 400, "maximum": 599}, 503, "the status"),
            "after_write": Setting({"type": "boolean"}, False, "the request is carried out, only its answer is lost"),
            "retry_after": _choice(
                "absent", "how it says when to come again", "integer", "fractional", "date", "ms", "both"
            ),
            "wait": _seconds(10, "seconds the client is asked to wait"),
        },
    ),
    "latency": Kind(HTTP, "answers late", {"seconds": _seconds(1, "real seconds of delay")}),
    "reset": Kind(HTTP, "closes the connection in place of an answer; nothing is carried out"),
    "lost_answer": Kind(HTTP, "carries the request out and closes the connection before the answer"),
    "truncated": Kind(HTTP, "sends half of the answer's body and closes the connection"),
    "malformed": Kind(HTTP, "sends an answer with its status and a body that is no JSON, as a gateway's error page"),
    "expired_token": Kind(HTTP, "lets the request's token expire now: 401 until the client gets a new one"),
    "next_link": Kind(
        HTTP,
        "damages the link to the next page of a list that has one",
        {"variant": _choice("same_page", "where it leads", "missing_page", "no_url", "other_host")},
    ),
    "odd_answer": Kind(
        HTTP,
        "gives a right answer that is unusual: properties and enum values nobody knows, or another 2xx status",
        {"form": _choice("unknown_values", "what is unusual", "other_status")},
    ),
    "offline": Kind(CONNECTOR, "reaches the service no more", causes=("ConnectorBusy", "ConnectorInactive")),
    "key_missing": Kind(CONNECTOR, "does not find the key that the record names", causes=("KeyNotFound",)),
    "wrong_key": Kind(CONNECTOR, "holds another key under the name", causes=("DecryptFailed",)),
    "hsm_down": Kind(CONNECTOR, "gets no answer from its HSM", causes=("HsmUnavailable",)),
    "pin_refused": Kind(CONNECTOR, "has its PIN refused by the HSM", causes=("PinRefused",)),
    "slow_hsm": Kind(CONNECTOR, "waits for its HSM", {"seconds": _seconds(1, "real seconds for each batch")}),
    "corrupt_result": Kind(
        CONNECTOR, "uploads a result whose encrypted bytes are damaged", causes=("EncryptedForAnotherKey",)
    ),
    "double_delivery": Kind(CONNECTOR, "uploads a result twice"),
    "lost": Kind(DEVICE, "does not check in: switched off, lost, without network", causes=("NotAskedYet",)),
    "not_now": Kind(
        DEVICE,
        "is locked: an Apple device answers NotNow, a PC has nobody signed in, a work profile is paused",
        causes=("DeviceBusy", "UserNotSignedIn", "NotAskedYet"),
    ),
    "refuses": Kind(DEVICE, "refuses to install the certificate", causes=("DeviceRefused",)),
    "storage_full": Kind(DEVICE, "has no room left to install the certificate", causes=("StorageFull",)),
    "wrong_os": Kind(
        DEVICE,
        "runs another version of its system, with what that version can open",
        {
            "os_version": Setting(
                {"type": "string", "pattern": r"^\d+(\.\d+){0,3}$"}, "12.0", "the version, such as 12.0"
            )
        },
        causes=("WrongPassword",),
    ),
}
"""Name → kind."""

MATCHES: Final = {
    "route": "`METHOD PATH` or `PATH`; `*` stands for anything, case does not count, the query is left out",
    "actor": "who: application id, user, user agent; connector or device by name or id; a part is enough",
    "certificate": "thumbprint of the certificate that is spoken of, or its beginning; of a device: one that it gets",
}
"""Name of a condition → what it is compared with."""


def schema() -> dict[str, Any]:
    """Return the JSON Schema (Draft 2020-12) of a fault as it is asked for."""
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
