"""Every request and its answer as they went over the wire, for whoever judges a client. In memory, never written down.

Requests hold tokens, secrets and ciphertext: what is shown of them goes through `shown`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pfxlab.emulator.wire import jsontext

LABS_OWN: Final = ("/lab/", "/admin", "/favicon.ico")
"""Where the lab itself is looked at and moved: no client's business, and no fault applies to it."""

_SECRET_FIELDS: Final = re.compile(r"((?:client_secret|password|assertion|client_assertion|refresh_token|code)=)[^&]*")
_LONGEST_SHOWN: Final = 600


@dataclass(frozen=True)
class Exchange:
    """One request with its answer. `status` 0: the connection was closed without one. Times are the wall clock's."""

    number: int
    began: datetime
    ended: datetime
    method: str
    host: str
    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    status: int
    answer_headers: Mapping[str, str] = field(repr=False)
    answer: bytes = field(repr=False)
    certificate: bool = False

    def json(self) -> Any:
        """Return the request's body as JSON, None when it is none."""
        return _json(self.body)

    def answer_json(self) -> Any:
        """Return the answer's body as JSON, None when it is none."""
        return _json(self.answer)

    @property
    def is_graph(self) -> bool:
        """Return whether it was a request to Graph."""
        return self.path.lower().startswith(("/beta", "/v1.0")) or self.path.lower().startswith("/devicemanagement")

    @property
    def is_token(self) -> bool:
        """Return whether it was a token request."""
        return self.path.endswith("/oauth2/v2.0/token")

    def line(self) -> str:
        """Return it in one line, without secrets."""
        query = f"?{self.query}" if self.query else ""
        answer = str(self.status) if self.status else "connection closed"
        return f"{self.method} {self.path}{query} → {answer}"


def _json(data: bytes) -> Any:
    try:
        return jsontext.decode(data, most=len(data))
    except ValueError:
        return None


def shown(exchange: Exchange, clean: Callable[[str], str] = str) -> dict[str, Any]:
    """Return an exchange as it may be shown: no token, no secret, long values cut.

    `clean` takes out what only the caller knows to be a secret.
    """
    headers = {n: "Bearer …" if n == "authorization" else v for n, v in exchange.headers.items()}
    return {
        "number": exchange.number,
        "time": exchange.began.isoformat(timespec="milliseconds"),
        "line": clean(exchange.line()),
        "headers": {name: clean(value) for name, value in headers.items()},
        "body": _cut(clean(_without_secrets(exchange.body))),
        "status": exchange.status,
        "answerHeaders": {name: clean(value) for name, value in exchange.answer_headers.items()},
        "answer": _cut(clean(_without_tokens(exchange.answer))),
    }


def _without_secrets(data: bytes) -> str:
    return _SECRET_FIELDS.sub(r"\1…", data.decode("utf-8", "replace"))


def _without_tokens(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    return re.sub(r'("(?:access_token|refresh_token|id_token|device_code|secretText)"\s*:\s*")[^"]*', r"\1…", text)


def _cut(text: str) -> str:
    text = re.sub(r'("encryptedPfxBlob"\s*:\s*"[^"]{40})[^"]*', r"\1…", text)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}… ({len(text)} characters)"


class Recorder:
    """Numbers exchanges and hands them to whoever observes."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def __call__(self, exchange: Exchange) -> None:
        """Keep one."""
        self.exchanges.append(exchange)

    def take(self) -> list[Exchange]:
        """Return what was kept, and keep nothing of it."""
        taken, self.exchanges = self.exchanges, []
        return taken
