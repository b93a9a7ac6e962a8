"""The error boundary of every HTTP component: what no handler answers gets the component's error and a journal entry.

A component says in `Component` how its protocol reports an error. An unexpected exception is a bug in the lab: the
journal entry has the rule `Defect`, the log has the traceback, and the client sees neither.
"""

import logging
import re
import sqlite3
from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from aiohttp import web
from aiohttp.http import HttpProcessingError, HttpVersion11
from aiohttp.web_protocol import RequestPayloadError
from aiohttp.web_urldispatcher import UrlMappingMatchInfo

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.connections.body_timeout import SlowBody
from pfxlab.emulator.edge import CLOUD
from pfxlab.emulator.hosts.microsoft import Service, microsoft_host
from pfxlab.emulator.journal.tips import tip
from pfxlab.emulator.store.database import is_full
from pfxlab.emulator.wire.connector import LARGEST_BODY
from pfxlab.emulator.wire.text import describe_defect, whole_text

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_LOG = logging.getLogger(__name__)
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::(\d{1,5}))?")
_LAST_PORT: Final = 65535


@dataclass(frozen=True)
class Problem:
    """Why a request gets an error: HTTP status, a stable code, and a sentence that may go to the client."""

    status: int
    code: str
    text: str


@dataclass(frozen=True)
class Component:
    """How one component reports an error: the party of its journal entries, its protocol's form of a problem."""

    party: str
    answer: Callable[[web.Request, Problem], web.Response]
    hosts: Container[str] | None = None
    """The names by which it is asked, None: any. A page of another name may not use a browser's cookies and forms."""

    service: Service | None = None
    """The service of Microsoft's that it stands for. At that service's host names nothing else is served."""

    elsewhere: Callable[[web.Request, Problem], web.Response] | None = None
    """What the service answers at an address that it does not have, such as one of another service."""


OWN_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names of this machine."""

COMPONENTS: "web.AppKey[dict[web.AbstractResource, Component]]" = web.AppKey("components")
"""Which component each route belongs to."""

SERVICES: "web.AppKey[dict[Service, Component]]" = web.AppKey("services")
"""Which component stands for each of Microsoft's services."""

FALLBACK: "web.AppKey[Component]" = web.AppKey("fallback")
"""The component that answers at any other address."""

_SERVES: Final = {Service.LOGIN: "sign-in", Service.GRAPH: "Graph", Service.MANAGEMENT: "Azure management"}

TOO_LARGE: Final = Problem(413, "BodyTooLarge", f"expected a body of at most {LARGEST_BODY} bytes, got more")
_BAD_ENCODING: Final = Problem(
    400, "BadEncoding", "expected a body encoded as its Content-Encoding says, got other bytes"
)
_SLOW_BODY: Final = Problem(408, "SlowBody", "expected the whole body in time, as Content-Length announced it")
_BAD_HOST: Final = Problem(400, "BadHost", "expected NAME or NAME:PORT in the Host header, got something else")
_WRONG_HOST: Final = Problem(421, "WrongHost", "expected a Host header with a name of this service, got another")
_FULL: Final = Problem(507, "StorageFull", "the lab's disk is full: free space for its data folder, then retry")
_BAD_MESSAGE: Final = Problem(400, "BadMessage", "expected a message of HTTP/1.1, got something else")
_GONE: Final = Problem(499, "ClientGone", "the client went away before it had the answer")
_DEFECT: Final = Problem(500, "Defect", "a bug in the lab; its log has the traceback")


def defect_reason(error: Exception) -> str:
    """Log the traceback of an unexpected exception, and return where it happened.

    The exception's text is left out of the result: it may hold a secret.
    """
    _LOG.error("unexpected error", exc_info=error)
    return describe_defect(error)


async def _expectation(request: web.Request) -> None:
    """Answer `Expect: 100-continue`. Any other expectation may be ignored: RFC 9110, section 10.1.1."""
    if request.version == HttpVersion11 and request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # The interim answer is none: the boundary asks whether one has begun.
        request.writer.output_size = 0


def ignore_other_expectations(app: web.Application) -> None:
    """Replace aiohttp's handler of `Expect`, which breaks on values that are not ASCII: for what has no route, too."""
    resolve = app.router.resolve

    async def resolved(request: web.Request) -> UrlMappingMatchInfo:
        found = await resolve(request)
        found.route._expect_handler = _expectation
        return found

    app.router.resolve = resolved  # type: ignore[method-assign]


def register(app: web.Application, component: Component, add_routes: Callable[[web.Application], None]) -> None:
    """Add a component's routes, and record that they belong to it."""
    known = set(app.router.resources())
    add_routes(app)
    app[COMPONENTS] |= {resource: component for resource in app.router.resources() if resource not in known}
    if component.service is not None:
        app[SERVICES][component.service] = component


def _name_of(host: str) -> str:
    return re.sub(r":\d+\Z", "", host).lower()


@lru_cache(maxsize=256)
def _is_host(text: str) -> bool:
    match = _HOST.fullmatch(text)
    return match is not None and int(match.group(1) or 0) <= _LAST_PORT


@web.middleware
async def boundary(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what no handler has answered in the form of the component that was asked."""
    try:
        refusal = _of_host(request)
        if refusal is not None:
            return refusal
        answer = await handler(request)
        if _is_gone(request):
            _note(request, _GONE, "ok", "the client went away; the request was carried out all the same")
        return answer
    except web.HTTPRequestEntityTooLarge:
        return _refused(request, TOO_LARGE)
    except RequestPayloadError as error:
        # The rest of the body cannot be read: without an end to it the server would try, and log the failure.
        request.content.feed_eof()
        unread = _refused(request, _SLOW_BODY if isinstance(error, SlowBody) else _BAD_ENCODING)
        unread.force_close()
        return unread
    except ConnectionError:
        _note(request, _GONE, "refused", "the client went away before the request or its answer was complete")
        raise
    except web.HTTPException:
        raise
    except Exception as error:
        if is_full(error):
            return _refused(request, _FULL)
        return _unforeseen(request, error)


def _of_host(request: web.Request) -> web.Response | None:
    """Return the refusal of a request whose Host cannot be, or is none of those that have its address."""
    # RFC 9112, section 3.2: an invalid Host gets a 400. Below this line it becomes part of addresses.
    if not _is_host(request.host):
        return _refused(request, _BAD_HOST)
    elsewhere, hosts = _elsewhere(request), _component(request).hosts
    if elsewhere is None and hosts is not None and _name_of(request.host) not in hosts:
        # DNS rebinding: a page of another site that has its own name lead to this machine.
        return _refused(request, _WRONG_HOST)
    return elsewhere


def _elsewhere(request: web.Request) -> web.Response | None:
    """Return what one of Microsoft's hosts answers at an address of another service, None where it is its own."""
    host = microsoft_host(_name_of(request.host))
    if host is None or _component(request).service is host.service:
        return None
    serving = request.app[SERVICES][host.service]
    text = f"{host.name} serves {_SERVES[host.service]} only, and does not have this address"
    problem = Problem(404, "WrongHost", text)
    _write(request.app[CLOUD], serving.party, problem, "refused", text, _facts(request, problem))
    return (serving.elsewhere or serving.answer)(request, problem)


def _is_gone(request: web.Request) -> bool:
    transport = request.transport
    return transport is None or transport.is_closing()


def _component(request: web.Request) -> Component:
    resource = request.match_info.route.resource
    found = None if resource is None else request.app[COMPONENTS].get(resource)
    return found or request.app[FALLBACK]


def _refused(request: web.Request, problem: Problem) -> web.Response:
    _note(request, problem, "refused", problem.text)
    return _component(request).answer(request, problem)


def _unforeseen(request: web.Request, error: Exception) -> web.Response:
    _note(request, _DEFECT, "failed", defect_reason(error))
    if request.writer.output_size:
        # The answer has begun: a second one would be read as part of it.
        raise ConnectionResetError("the answer cannot be completed") from error
    return _component(request).answer(request, _DEFECT)


def record_defect(cloud: Cloud, party: str, event: str, error: Exception) -> None:
    """Write an unexpected exception outside of any request to log and journal: the same entry as for a request."""
    _write(cloud, party, _DEFECT, "failed", defect_reason(error), {}, event)


class ServerLog(logging.LoggerAdapter[logging.Logger]):
    """The log of aiohttp's server: what it could not read goes to the journal, without a traceback.

    Such a message reaches no component: aiohttp answers 400 by itself. Anything else is a bug in the lab.
    """

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(_LOG)
        self._cloud = cloud

    def exception(self, msg: object, *args: object, exc_info: Any = True, **more: Any) -> None:
        """Write an exception that reached the server to the journal. Its text may hold bytes of the request."""
        if isinstance(exc_info, ConnectionError):
            # The rest of a body that was refused never came.
            return
        if isinstance(exc_info, (HttpProcessingError, RequestPayloadError)):
            outcome, problem = "refused", _BAD_MESSAGE
            _LOG.warning("a request that is no HTTP: %s", type(exc_info).__name__)
            reason = f"{problem.text}: {type(exc_info).__name__}"
        elif isinstance(exc_info, Exception):
            outcome, problem, reason = "failed", _DEFECT, defect_reason(exc_info)
        else:
            super().exception(msg, *args, exc_info=exc_info, **more)
            return
        _write(self._cloud, "lab", problem, outcome, reason, {"told": str(problem.status)})


def _note(request: web.Request, problem: Problem, outcome: str, reason: str) -> None:
    """Write the problem to the journal, or to the log if the journal cannot be written."""
    _write(request.app[CLOUD], _component(request).party, problem, outcome, reason, _facts(request, problem))


def _facts(request: web.Request, problem: Problem) -> dict[str, str]:
    client = whole_text(request.headers.get("User-Agent", ""))[:100]
    return {"method": request.method, "path": request.path[:500], "client": client, "told": str(problem.status)}


def _write(
    cloud: Cloud,
    party: str,
    problem: Problem,
    outcome: str,
    reason: str,
    facts: dict[str, str],
    event: str = "request",
) -> None:
    try:
        cloud.journal.record(
            party, event, outcome=outcome, reason=reason, rule=problem.code, tip=tip(problem.code), **facts
        )
    except sqlite3.Error:
        _LOG.exception("cannot write to the journal")
