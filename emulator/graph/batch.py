"""POST /$batch: up to twenty requests in one, some of them waiting for others. See sources.md#json-batching.

A batch is refused as a whole before anything runs: too many, an id twice, a write without body or Content-Type, an
unknown dependency. Everything else is answered item by item. See also sources.md#batch-writes, sources.md#batch-ids and
sources.md#batch-addresses.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.bodies import MOST_VALUES
from pfxlab.emulator.graph.odata.query import LONGEST_URL
from pfxlab.emulator.graph.request import Answer, Incoming, Json, Outgoing, Steps
from pfxlab.emulator.wire import jsontext
from pfxlab.emulator.wire.schemas import first_problem

_METHODS: Final = ("GET", "POST", "PATCH", "PUT", "DELETE")
_WRITES: Final = ("POST", "PATCH", "PUT")
_MOST: Final = 20
_LONGEST_ID: Final = 100


def _parse(cloud: Cloud, incoming: Incoming) -> list[Json]:
    try:
        jsontext.check_size(incoming.body, MOST_VALUES)
        body = json.loads(incoming.body)
        jsontext.check_values(body)
        # A lone surrogate passes the JSON parser and nothing after it.
        json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise errors.unreadable_payload("expected a JSON object with requests") from None
    problem = first_problem("batch", body)
    if problem is not None:
        raise errors.bad_batch(problem)
    if len(body["requests"]) > _MOST:
        reason = f"expected at most {_MOST} requests, got {len(body['requests'])}"
        newer = cloud.config.switches.batch_limit_text == "newer"
        raise errors.batch_too_long(reason) if newer else errors.bad_batch(reason)
    requests: list[Json] = [{**request, "id": _text(request["id"])} for request in body["requests"]]
    _check(requests)
    return requests


def _check(requests: list[Json]) -> None:
    """Check what a batch must be as a whole.

    Raises:
        GraphError: it breaks a rule.

    """
    ids = [request["id"].casefold() for request in requests]
    if len(set(ids)) != len(ids):
        raise errors.bad_batch("expected each id once, whatever its case")
    for request in requests:
        _check_body(request)
        unknown = [name for name in _dependencies(request) if name.casefold() not in ids]
        if unknown:
            raise errors.bad_batch(f"request {request['id']}: depends on {unknown[0]}, which is not in the batch")


def _check_body(request: Json) -> None:
    """Check that a write has a body, and what has a body its Content-Type.

    Raises:
        GraphError: one of them is missing; it refuses the whole batch.

    """
    typed = "content-type" in {name.lower() for name in request.get("headers") or {}}
    has_body = request.get("body") is not None
    if str(request["method"]).upper() in _WRITES and not (typed and has_body):
        raise errors.batch_without_body(request["id"][:_LONGEST_ID])
    if has_body and not typed:
        raise errors.bad_batch(f"request {request['id']}: expected a Content-Type header beside the body")


def _text(name: Any) -> str:
    """Return an id as answers have it, a text, whatever kind of JSON value it was sent as."""
    return name if isinstance(name, str) else json.dumps(name)


def _dependencies(request: Json) -> list[str]:
    # Microsoft's Python SDK misspells the key.
    return [_text(name) for name in request.get("dependsOn") or request.get("depends_on") or ()]


def respond(cloud: Cloud, incoming: Incoming, dispatch: Callable[[Cloud, Incoming], Outgoing]) -> Steps[Answer]:
    """Return the answers of a batch, in the order of its requests; each request is a step.

    Raises:
        GraphError: the batch as a whole is refused; nothing has run.

    """
    if incoming.method != "POST":
        raise errors.method_not_allowed(incoming.method)
    requests = _parse(cloud, incoming)
    done: dict[str, Json] = {}
    for request in _in_order(requests):
        failed = any(done[name.casefold()]["status"] >= 400 for name in _dependencies(request))
        answer = _failed_dependency(request) if failed else _run(cloud, incoming, request, dispatch)
        done[request["id"].casefold()] = answer
        yield
    return Answer(200, {"responses": [done[request["id"].casefold()] for request in requests]})


def _in_order(requests: list[Json]) -> list[Json]:
    """Return requests with each after those it depends on.

    Raises:
        GraphError: the dependencies form a circle.

    """
    ordered: list[Json] = []
    known: set[str] = set()
    waiting = list(requests)
    while waiting:
        ready = [r for r in waiting if all(name.casefold() in known for name in _dependencies(r))]
        if not ready:
            raise errors.bad_batch(f"request {waiting[0]['id']}: its dependencies form a circle")
        ordered += ready
        known |= {request["id"].casefold() for request in ready}
        waiting = [request for request in waiting if request["id"].casefold() not in known]
    return ordered


def is_batch(path: str) -> bool:
    """Return whether a path below the version is that of a batch."""
    return unquote(path).strip("/").lower() == "$batch"


def _refused_item(request: Json, error: errors.GraphError) -> Json:
    body = {"error": {"code": error.code, "message": error.text}}
    headers = {"Content-Type": "application/json"}
    return {"id": request["id"], "status": error.status, "headers": headers, "body": body}


def _failed_dependency(request: Json) -> Json:
    body = {"error": {"code": "FailedDependency", "message": "The request failed because its dependency failed."}}
    return {"id": request["id"], "status": 424, "headers": {"Content-Type": "application/json"}, "body": body}


def _run(cloud: Cloud, outer: Incoming, request: Json, dispatch: Callable[[Cloud, Incoming], Outgoing]) -> Json:
    method, url = str(request["method"]).upper(), str(request["url"])
    if len(url) > LONGEST_URL:
        return _refused_item(request, errors.url_too_long(len(url), LONGEST_URL))
    try:
        path, query = _path_and_query(url) if _is_relative(cloud) else _below_version(url, outer.version)
    except ValueError:
        return _refused_item(request, errors.unknown_segment(url[:100]))
    if method not in _METHODS or is_batch(path):
        return _refused_item(request, errors.method_not_allowed(method))
    given = {str(name).lower(): str(value) for name, value in (request.get("headers") or {}).items()}
    headers = {**{n: v for n, v in outer.headers.items() if n in ("authorization", "user-agent")}, **given}
    inner = replace(
        outer, method=method, path=path, query=query, headers=headers, body=_body_bytes(request.get("body"))
    )
    answer = dispatch(cloud, inner)
    content_type = answer.headers.get("Content-Type", "application/json")
    shown: Json = {"id": request["id"], "status": answer.status, "headers": {"Content-Type": content_type}}
    for name in ("Location", "Retry-After", "x-ms-retry-after-ms"):
        if name in answer.headers:
            shown["headers"][name] = answer.headers[name]
    if answer.body:
        shown["body"] = json.loads(answer.body) if "json" in content_type else answer.body.decode()
    return shown


def _is_relative(cloud: Cloud) -> bool:
    return cloud.config.switches.batch_addresses == "relative"


def _path_and_query(url: str) -> tuple[str, str]:
    """Return path and query of an item as the service takes them: whatever it is, it is read below the version."""
    path, _, query = url.partition("#")[0].partition("?")
    return path.lstrip("/"), query


def _below_version(url: str, version: str) -> tuple[str, str]:
    """Return path and query of an item: relative, absolute on any host, or with the version in it."""
    parts = urlsplit(url)
    path = parts.path.lstrip("/")
    first, _, rest = path.partition("/")
    return (rest if first.lower() == version else path), parts.query


def _body_bytes(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        try:
            return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        except ValueError:
            return body.encode()
    return json.dumps(body).encode()
