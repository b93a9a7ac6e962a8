"""The control API: clock, faults, switches, seed data, snapshots, journal, explanations. Needs its own token.

Routes and the OpenAPI description (openapi.py) are generated from the rows of verbs.py.
"""

import asyncio
import hmac
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from aiohttp import web

from pfxlab.emulator.boundary import OWN_HOSTS, Component, Problem
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.config import switches_with
from pfxlab.emulator.edge import CLOUD
from pfxlab.emulator.entra.token_checks import expire_tokens_of
from pfxlab.emulator.faults.plan import BadFault, read_fault
from pfxlab.emulator.journal.near_misses import near_misses
from pfxlab.emulator.lab.driver import CannotDo, Driver
from pfxlab.emulator.lab.explain import explain
from pfxlab.emulator.lab.moments import read_duration, read_moment
from pfxlab.emulator.lab.snapshot import BadSnapshot
from pfxlab.emulator.lab.verbs import Endpoint, Verb, VerbFailed, check, check_steps, endpoints
from pfxlab.emulator.store.journal_entries import FILTERS
from pfxlab.emulator.wire import jsontext
from pfxlab.emulator.wire.text import quoted

CONTROL_TOKEN = web.AppKey("control_token", str)
DRIVER: web.AppKey[Driver] = web.AppKey("driver")
PREFIX: Final = "/lab/v1"
_CHANGING = web.AppKey("changing", asyncio.Lock)
_LONGEST_WAIT: Final = 60.0
_POLL_SECONDS: Final = 0.02
_LOOKED_AT: Final = 1000
"""How many of the newest entries are searched for near misses."""
_MOST_VALUES: Final = 200_000

Json = Mapping[str, Any]


class Refused(Exception):
    """The control API refuses a request; the text says what was expected and what was received."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


@dataclass(frozen=True)
class Call:
    """The input of a handler: the cloud, its driver, query and path values, and the JSON body ({} if there is none)."""

    cloud: Cloud
    driver: Driver
    query: Mapping[str, str]
    path_values: Mapping[str, str]
    body: Any

    def number(self, name: str, default: int) -> int:
        """Return a query value as a whole number.

        Raises:
            Refused: it is not one.

        """
        text = self.query.get(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            raise Refused("BadQuery", f"expected a whole number as {quoted(name)}, got {text[:40]!r}")
        return int(text)

    def filters(self) -> dict[str, Any]:
        """Return the query's conditions on journal entries."""
        return {name: self.query[name] for name in FILTERS if name in self.query}


async def _health(call: Call) -> Any:
    return {"status": "ok", "seed": call.cloud.config.seed, "time": call.cloud.clock.now().isoformat()}


async def _switches(call: Call) -> Any:
    return asdict(call.cloud.config.switches)


async def _set_switches(call: Call) -> Any:
    try:
        changed = switches_with(call.cloud.config.switches, call.body)
    except ValueError as error:
        raise Refused("BadSwitch", str(error)) from None
    call.cloud.set_switches(changed, call.body)
    return asdict(changed)


def _clock_of(cloud: Cloud) -> dict[str, Any]:
    return {"time": cloud.clock.now().isoformat(), "frozen": cloud.clock.frozen}


async def _clock(call: Call) -> Any:
    return _clock_of(call.cloud)


def _move_of(body: Json) -> Json:
    """Return the one move that a body asks for.

    Raises:
        Refused: none or several of them, or tokens to expire without time that passes.

    """
    move = {name: value for name, value in body.items() if name != "expireTokens"}
    if len(move) != 1 or not set(move) <= {"freeze", "resume", "set", "advance"}:
        given = ", ".join(map(str, move)) or "nothing"
        raise Refused("BadClock", f"expected one of freeze, resume, set, advance, got {given[:80]}")
    if not isinstance(body.get("expireTokens", False), bool):
        raise Refused("BadClock", f"expected expireTokens to be true or false, got {str(body['expireTokens'])[:40]}")
    if body.get("expireTokens") and "advance" not in move:
        raise Refused("BadClock", f"expected expireTokens beside advance, got it beside {next(iter(move))}")
    return move


async def _set_clock(call: Call) -> Any:
    clock, body = call.cloud.clock, _move_of(call.body)
    check_ins: list[Json] = []
    try:
        if "advance" in body:
            check_ins = list(await call.driver.pass_time(read_duration(str(body["advance"]))))
            if call.body.get("expireTokens"):
                expire_tokens_of(call.cloud)
        elif "set" in body:
            clock.set(read_moment(str(body["set"])))
        elif "freeze" in body:
            clock.freeze(None if body["freeze"] is True else read_moment(str(body["freeze"])))
        elif body["resume"] is True:
            clock.resume()
        else:
            raise ValueError(f"expected resume to be true, got {str(body['resume'])[:40]}")
    except ValueError as error:
        raise Refused("BadClock", str(error)) from None
    ((what, value),) = body.items()
    call.cloud.journal.record("lab", "clock moved", how=what, value=str(value)[:60], checkIns=len(check_ins))
    return {**_clock_of(call.cloud), "checkIns": check_ins}


async def _faults(call: Call) -> Any:
    return {"faults": [planned.to_json() for planned in call.cloud.faults.all()]}


async def _add_fault(call: Call) -> Any:
    try:
        return call.driver.plan_fault(read_fault(dict(call.body))).to_json()
    except BadFault as error:
        raise Refused("BadFault", str(error)) from None


async def _fault(call: Call) -> Any:
    planned = call.cloud.faults.get(call.path_values["id"])
    if planned is None:
        raise Refused("NoSuchFault", f"expected a planned fault, got {call.path_values['id'][:40]!r}", 404)
    return planned.to_json()


async def _remove_fault(call: Call) -> Any:
    found = await _fault(call)
    call.cloud.faults.remove(call.path_values["id"])
    return found


async def _remove_faults(call: Call) -> Any:
    removed = await _faults(call)
    call.cloud.faults.clear()
    return removed


async def _seed(call: Call) -> Any:
    steps = call.body.get("steps")
    if not isinstance(steps, list):
        raise Refused("BadSteps", f"expected a list of steps as 'steps', got {type(steps).__name__}")
    check_steps(steps)
    done = []
    for number, step in enumerate(steps, 1):
        try:
            done.append(await call.driver.perform(step))
        except CannotDo:
            raise
        except ValueError as error:
            raise type(error)(f"step {number}, {next(iter(step))}: {error}") from None
    return {"done": done}


async def _settle(call: Call) -> Any:
    check_ins = await call.driver.settle()
    return {"checkIns": check_ins, "left": call.driver.left(), **_clock_of(call.cloud)}


_SNAPSHOT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


async def _snapshots(call: Call) -> Any:
    return {"snapshots": call.driver.snapshots()}


async def _take(call: Call) -> Any:
    name = call.body.get("name")
    if not isinstance(name, str) or not _SNAPSHOT_NAME.fullmatch(name):
        raise Refused("BadSnapshot", f"expected a name of letters, digits, dots, - and _, got {str(name)[:40]!r}")
    await call.driver.take(name)
    return {"name": name}


async def _restore(call: Call) -> Any:
    await call.driver.restore(call.path_values["name"])
    return _clock_of(call.cloud)


async def _reset(call: Call) -> Any:
    began = time.perf_counter()
    await call.driver.reset()
    return {**_clock_of(call.cloud), "milliseconds": round(1000 * (time.perf_counter() - began), 1)}


async def _damaged(call: Call) -> Any:
    return {"damaged": [entry.to_json() for entry in call.cloud.damaged()]}


async def _journal(call: Call) -> Any:
    limit = min(call.number("limit", 1000), 10_000)
    entries = call.cloud.journal.entries(after=call.number("after", 0), limit=limit, **call.filters())
    return {"entries": [asdict(entry) for entry in entries]}


async def _count(call: Call) -> Any:
    return {"count": call.cloud.journal.count(after=call.number("after", 0), **call.filters())}


async def _near(call: Call) -> Any:
    entries = call.cloud.journal.entries(after=call.number("after", 0), limit=_LOOKED_AT, newest=True)
    return {"nearMisses": [miss.to_json() for miss in near_misses(entries, call.filters())]}


async def _wait(call: Call) -> Any:
    journal, after, wanted = call.cloud.journal, call.number("after", 0), call.filters()
    count, seconds = max(1, call.number("count", 1)), min(float(call.number("seconds", 5)), _LONGEST_WAIT)
    deadline = asyncio.get_running_loop().time() + seconds
    while journal.count(after=after, **wanted) < count:
        if asyncio.get_running_loop().time() >= deadline or call.cloud.stopping:
            entries = journal.entries(after=after, limit=count, **wanted)
            return {"met": False, "entries": [asdict(entry) for entry in entries], **await _near(call)}
        await asyncio.sleep(_POLL_SECONDS)
    entries = journal.entries(after=after, limit=count, **wanted)
    return {"met": True, "entries": [asdict(entry) for entry in entries], "nearMisses": []}


def _tenant_of(cloud: Cloud, call: Mapping[str, str]) -> str:
    """Return the id of the requested tenant, else of the one with the domain of the user's name, else of the first."""
    domain = call.get("user", "").rpartition("@")[2]
    found = cloud.directory.tenant(call.get("tenant", domain)) or cloud.directory.tenants()[0]
    return str(found["id"])


async def _explain(call: Call) -> Any:
    query = call.query
    if not query.get("user"):
        raise Refused("BadQuery", "expected user, and maybe device, thumbprint and tenant, got no user")
    tenant = _tenant_of(call.cloud, query)
    explanations = explain(call.cloud, tenant, query["user"], query.get("device"), query.get("thumbprint"))
    return {"explanations": [one.to_json() for one in explanations]}


async def _bundle(call: Call) -> Any:
    return web.Response(
        body=await call.driver.bundle(),
        content_type="application/zip",
        headers={"Content-Disposition": 'attachment; filename="run.pfxlab.zip"'},
    )


async def _do(call: Call, name: str) -> Any:
    check(name, call.body)
    return {"done": await call.driver.perform({name: call.body})}


Handle = Callable[[Call], Awaitable[Any]]
HANDLERS: Final[Mapping[str, Handle]] = {
    "health": _health,
    "switches": _switches,
    "setSwitches": _set_switches,
    "clock": _clock,
    "setClock": _set_clock,
    "faults": _faults,
    "addFault": _add_fault,
    "removeFaults": _remove_faults,
    "fault": _fault,
    "removeFault": _remove_fault,
    "seed": _seed,
    "settle": _settle,
    "snapshots": _snapshots,
    "takeSnapshot": _take,
    "restoreSnapshot": _restore,
    "reset": _reset,
    "damaged": _damaged,
    "journal": _journal,
    "countEntries": _count,
    "waitForEntries": _wait,
    "nearMisses": _near,
    "explain": _explain,
    "bundle": _bundle,
}
"""Operation of an endpoint → its handler. `POST /do/NAME` goes to the driver."""


def _handle_of(verb: Verb, endpoint: Endpoint) -> Handle:
    return HANDLERS[endpoint.operation] if endpoint is verb.endpoint else partial(_do, name=verb.name)


def _check_token(request: web.Request) -> None:
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), request.app[CONTROL_TOKEN].encode()):
        text = "expected 'Authorization: Bearer' with the control token of the ready file"
        raise Refused("ControlToken", text, 401)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


async def _read(request: web.Request, endpoint: Endpoint) -> Call:
    unknown = sorted(set(request.query) - set(endpoint.query))
    if unknown:
        raise Refused("BadQuery", f"expected {', '.join(endpoint.query) or 'no query'}, got {unknown[0][:40]!r}")
    body: Any = {}
    verb_alone = endpoint.path.startswith("/do/")
    if endpoint.body is not None:
        try:
            data = await request.read() or (b"null" if verb_alone else b"{}")
            jsontext.check_size(data, _MOST_VALUES)
            body = json.loads(data, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise Refused("NotJson", f"expected a JSON object, got none ({error})") from None
        if not isinstance(body, dict) and not verb_alone:
            raise Refused("BadSwitch" if endpoint.operation == "setSwitches" else "NotAnObject",
                           f"expected a JSON object, got {type(body).__name__}")  # fmt: skip
    return Call(request.app[CLOUD], request.app[DRIVER], request.query, request.match_info, body)


async def perform(app: web.Application, operation: str, body: Json, path_values: Mapping[str, str]) -> Any:
    """Carry out an operation that changes something, for the admin centre's pages.

    Raises:
        Refused: the control API's reason.
        ValueError: an argument is not valid.

    """
    endpoint = next(one for _, one in endpoints() if one.operation == operation)
    cloud, driver = app[CLOUD], app[DRIVER]
    async with app[_CHANGING]:
        driver.note(endpoint.method, endpoint.path.format(**path_values), body)
        try:
            return await HANDLERS[operation](Call(cloud, driver, {}, path_values, body))
        except BadSnapshot as error:
            raise Refused("BadSnapshot", str(error), 409) from None


def _handler(verb: Verb, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    handle = _handle_of(verb, endpoint)

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            if not endpoint.public:
                _check_token(request)
            call = await _read(request, endpoint)
            if endpoint.method == "GET":
                result = await handle(call)
            else:
                # One change at a time, or time that passes in one could pass again in another.
                async with request.app[_CHANGING]:
                    call.driver.note(endpoint.method, request.path.removeprefix(PREFIX), call.body)
                    result = await handle(call)
        except Refused as refused:
            return _refusal(refused.code, str(refused), refused.status)
        except BadSnapshot as error:
            return _refusal("BadSnapshot", str(error), 409)
        except CannotDo as error:
            return _refusal("CannotDo", str(error), 409)
        except VerbFailed as error:
            return _refusal("VerbFailed", str(error), 409)
        except ValueError as error:
            return _refusal("BadRequest", str(error), 400)
        return result if isinstance(result, web.StreamResponse) else web.json_response(result)

    return answer


def _refusal(code: str, message: str, status: int) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message[:1000]}}, status=status)


def _problem(_request: web.Request, problem: Problem) -> web.Response:
    return _refusal(problem.code, problem.text, problem.status)


COMPONENT: Final = Component("lab", _problem, OWN_HOSTS)


def add_routes(app: web.Application) -> None:
    """Register the control API."""
    app[_CHANGING] = asyncio.Lock()
    for verb, endpoint in endpoints():
        app.router.add_route(endpoint.method, PREFIX + endpoint.path, _handler(verb, endpoint))
