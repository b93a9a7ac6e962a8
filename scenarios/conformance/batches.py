"""The requests of a JSON batch, each as if it had been sent alone. Pure.

Sources: sources.md#json-batching, sources.md#batches-of-clients.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pfxlab.emulator.journal.exchanges import Exchange


def expanded(exchange: Exchange) -> Iterator[Exchange]:
    """Yield the requests of a batch, with their answers, or the exchange itself if it is not a batch.

    Each keeps the number of the batch. A request without an answer of its own has status 0, unless the whole batch
    was refused: then all have its status.
    """
    version, _, path = exchange.path.strip("/").partition("/")
    sent, received = exchange.json(), exchange.answer_json()
    if path.lower() != "$batch" or not isinstance(sent, dict) or not isinstance(sent.get("requests"), list):
        yield exchange
        return
    answers = received.get("responses", []) if isinstance(received, dict) else []
    by_id = {str(one.get("id")): one for one in answers if isinstance(one, dict)}
    for part in sent["requests"]:
        if isinstance(part, dict):
            yield _part(exchange, version, part, by_id.get(str(part.get("id"))))


def _part(exchange: Exchange, version: str, part: Mapping[str, Any], answer: Mapping[str, Any] | None) -> Exchange:
    path, _, query = str(part.get("url", "")).partition("?")
    refused = exchange.status if exchange.status >= 400 else 0
    return replace(
        exchange,
        method=str(part.get("method", "")).upper(),
        path=f"/{version}/{path.strip('/')}",
        query=query,
        headers={**exchange.headers, **_headers(part)},
        body=_body(part.get("body")),
        status=int(answer.get("status", 0)) if answer is not None else refused,
        answer_headers=_headers(answer) if answer is not None else exchange.answer_headers,
        answer=_body(answer.get("body")) if answer is not None else exchange.answer,
    )


def _headers(part: Mapping[str, Any]) -> dict[str, str]:
    headers = part.get("headers")
    return {str(n).lower(): str(v) for n, v in headers.items()} if isinstance(headers, dict) else {}


def _body(body: Any) -> bytes:
    """Return a body as it would have been sent: JSON, or the bytes of a base64 string."""
    if isinstance(body, str):
        try:
            return base64.b64decode(body, validate=True)
        except ValueError:
            return body.encode()
    return b"" if body is None else json.dumps(body).encode()
