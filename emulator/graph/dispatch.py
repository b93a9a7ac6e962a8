"""One Graph request from bytes to bytes, without an HTTP library: token, route, permission, resource, error, journal.

The HTTP edge and $batch both come through here.
"""

import asyncio
import json
import sqlite3
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pfxlab.emulator.boundary import defect_reason
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.entra.bearer import TokenRefused, caller_of
from pfxlab.emulator.entra.caller import Caller
from pfxlab.emulator.graph import batch, errors, injected, throttling, unmodelled
from pfxlab.emulator.graph.directory import (
    applications,
    devices,
    directory_roles,
    group_members,
    groups,
    memberships,
    service_principals,
    sign_in_sessions,
    users,
)
from pfxlab.emulator.graph.intune import (
    assignment_filters,
    certificate_connectors,
    configuration_status,
    device_configurations,
    managed_devices,
    profile_assignments,
    user_pfx_certificates,
)
from pfxlab.emulator.graph.odata import names, versions
from pfxlab.emulator.graph.odata.annotations import at_level, level_of
from pfxlab.emulator.graph.odata.metadata import CONTENT_TYPE as CSDL_TYPE
from pfxlab.emulator.graph.odata.metadata import csdl
from pfxlab.emulator.graph.odata.model import model_of
from pfxlab.emulator.graph.odata.query import QueryOptions
from pfxlab.emulator.graph.odata.routes import NoSuchSegment, place_of
from pfxlab.emulator.graph.permissions import check
from pfxlab.emulator.graph.request import Answer, GraphRequest, Incoming, Outgoing, Steps
from pfxlab.emulator.graph.router import Route, Router, split_path
from pfxlab.emulator.hosts.microsoft import microsoft_host
from pfxlab.emulator.journal.tips import tip
from pfxlab.emulator.store.database import is_full
from pfxlab.emulator.wire import jsontext

JSON_TYPE: Final = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
_DIAGNOSTIC: Final = json.dumps(
    {"ServerInfo": {"DataCenter": "PFX Lab", "Slice": "E", "Ring": "0", "ScaleUnit": "000", "RoleInstance": "TESTONLY"}}
)
_COMMON_HEADERS: Final = {
    "x-ms-ags-diagnostic": _DIAGNOSTIC,
    "Strict-Transport-Security": "max-age=31536000",
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}
_READS: Final = ("GET", "HEAD")


_RESOURCES: Final = (
    user_pfx_certificates,
    device_configurations,
    profile_assignments,
    configuration_status,
    assignment_filters,
    certificate_connectors,
    managed_devices,
    users,
    sign_in_sessions,
    groups,
    group_members,
    devices,
    memberships,
    directory_roles,
    applications,
    service_principals,
)


def build_router() -> Router:
    """Return the router with every resource of the emulator."""
    router = Router()
    for resource in _RESOURCES:
        resource.add_routes(router)
    return router


_ROUTER = build_router()


def _caller(cloud: Cloud, incoming: Incoming) -> Caller:
    """Return who a request's token speaks for; a refused token is Graph's 401."""
    try:
        return caller_of(cloud, incoming.headers.get("authorization"), incoming.origin)
    except TokenRefused as refused:
        reason, rule = refused.reason, refused.rule
        if rule == "TokenMissing" and _withholds(incoming):
            reason = f"the Graph SDK sent no token: it sends tokens to Microsoft's hosts only, not to {incoming.origin}"
            rule = "TokenWithheld"
        raise errors.unauthenticated(refused.text, reason, rule, refused.claims) from None


def _withholds(incoming: Incoming) -> bool:
    """Return whether a request without a token is a Graph SDK's, at an address that is not Microsoft's.

    Source: sources.md#sdk-allowed-hosts.
    """
    if microsoft_host(urlsplit(incoming.origin).hostname or "") is not None:
        return False
    sdk, agent = incoming.headers.get("sdkversion", ""), incoming.headers.get("user-agent", "")
    return sdk.lower().startswith("graph-") or "kiota-" in agent.lower()


def dispatch(cloud: Cloud, incoming: Incoming) -> Outgoing:
    """Return the answer to a request; what it wrote is committed when this returns."""
    steps = _dispatched(cloud, incoming)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            answer: Outgoing = end.value
            return answer


async def dispatch_in_turns(cloud: Cloud, incoming: Incoming) -> Outgoing:
    """Return the answer as `dispatch` does; between the requests of a batch the event loop serves its other clients."""
    steps = _dispatched(cloud, incoming)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            answer: Outgoing = end.value
            return answer
        await asyncio.sleep(0)


def _dispatched(cloud: Cloud, incoming: Incoming) -> Steps[Outgoing]:
    request_id = cloud.traces.guid()
    ids = {"request-id": request_id, "client-request-id": incoming.headers.get("client-request-id") or request_id}
    try:
        answer = yield from _with_faults(cloud, incoming, request_id)
    except errors.GraphError as error:
        return refuse(cloud, incoming, error, ids)
    body = b""
    headers = {**_COMMON_HEADERS, **ids, **answer.headers}
    if isinstance(answer.body, str):
        headers.setdefault("Content-Type", "text/plain; charset=utf-8")
        body = answer.body.encode()
    elif answer.body is not None:
        level = level_of(incoming.headers.get("accept", ""))
        headers |= {"OData-Version": "4.0", "Content-Type": JSON_TYPE.replace("=minimal", f"={level}")}
        shown = versions.shown(answer.body, incoming.version)
        body = jsontext.encode(shown if level == "minimal" else at_level(shown, level, incoming.version))
    return Outgoing(answer.status, headers, body)


def _with_faults(cloud: Cloud, incoming: Incoming, request_id: str) -> Steps[Answer]:
    """Answer a request, with the faults that apply to it."""
    if not cloud.faults.any:
        return (yield from _committed(cloud, incoming, request_id))

    def carry_out(reported: bool) -> Steps[Answer]:
        return _committed(cloud, incoming, request_id if reported else None)

    answer = yield from injected.before_answer(cloud, injected.Pending(incoming, carry_out, _service_of(incoming)))
    return injected.after_answer(cloud, incoming, (yield from carry_out(True))) if answer is None else answer


def _service_of(incoming: Incoming) -> str | None:
    """Return the service behind a path, whose envelope its errors come in; None for Graph's own."""
    try:
        found = _ROUTER.find(incoming.method, incoming.version, split_path(incoming.path))
    except errors.GraphError:
        return None
    return found.route.permissions.service


def refuse(cloud: Cloud, incoming: Incoming, error: errors.GraphError, ids: dict[str, str] | None = None) -> Outgoing:
    """Return an error's answer; its true reason goes to the journal, and to a header when the lab explains."""
    ids = ids or _new_ids(cloud)
    cloud.journal.record(
        "graph",
        "request",
        outcome="refused",
        reason=error.reason,
        rule=error.rule,
        tip=tip(error.rule),
        told=f"{error.status} {error.code}: {error.text}",
        **_facts(incoming, ids["request-id"]),
    )
    return refusal(cloud, incoming, error, ids)


def _new_ids(cloud: Cloud) -> dict[str, str]:
    request_id = cloud.traces.guid()
    return {"request-id": request_id, "client-request-id": request_id}


def refusal(cloud: Cloud, incoming: Incoming, error: errors.GraphError, ids: dict[str, str] | None = None) -> Outgoing:
    """Return an error's answer; nothing is written down."""
    ids = ids or _new_ids(cloud)
    place = errors.ErrorPlace(
        ids["request-id"], ids["client-request-id"], cloud.wall.now(), incoming.path.strip("/"), incoming.version
    )
    body = errors.body(error, place)
    headers = {**_COMMON_HEADERS, **ids, **error.headers, "Content-Type": "application/json"}
    if cloud.config.explain:
        headers |= _explained(error)
    return Outgoing(error.status, headers, jsontext.encode(body))


def _explained(error: errors.GraphError) -> dict[str, str]:
    """Return the headers that say why a request is refused, and what to do."""
    advice = tip(error.rule)
    reason = {errors.REASON: _in_header(f"{error.rule}: {error.reason}")}
    return reason if advice is None else {**reason, errors.TIP: _in_header(advice)}


def _in_header(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:1000]


def _facts(incoming: Incoming, request_id: str) -> dict[str, str]:
    agent = incoming.headers.get("user-agent", "")
    path = f"/{incoming.version}/{incoming.path.strip('/')}".rstrip("/")
    return {"method": incoming.method, "path": path[:500], "request_id": request_id, "client": agent[:100]}


def _committed(cloud: Cloud, incoming: Incoming, request_id: str | None) -> Steps[Answer]:
    """Answer within one transaction, and turn an unexpected error into Graph's 500.

    Without a `request_id` the answer is not written down: the client will not get it.
    """
    try:
        if batch.is_batch(incoming.path):
            _caller(cloud, incoming)
            answer = yield from batch.respond(cloud, incoming, dispatch)
        elif incoming.method in _READS:
            answer = _answer(cloud, incoming)
        else:
            with cloud.journal.kept_on_rollback(), cloud.store.atomic():
                answer = _answer(cloud, incoming)
    except errors.GraphError:
        raise
    except sqlite3.OperationalError as error:
        raise (errors.storage_full() if is_full(error) else errors.internal(defect_reason(error))) from error
    except Exception as error:
        raise errors.internal(defect_reason(error)) from error
    if request_id is None:
        return answer
    facts: dict[str, Any] = {**_facts(incoming, request_id), **answer.facts}
    if answer.notes:
        facts["notes"] = list(answer.notes)
    cloud.journal.remember("graph", "request", told=str(answer.status), **facts)
    return answer


def _public(incoming: Incoming) -> Answer | None:
    """Return what Graph tells anybody: its metadata and its service document."""
    if "/" in incoming.path.strip("/") or incoming.method not in _READS:
        return None
    path = unquote(incoming.path).strip("/").lower()
    if path not in ("", "$metadata"):
        return None
    if path:
        return Answer(200, csdl(incoming.version), {"Content-Type": CSDL_TYPE, "OData-Version": "4.0"})
    model = model_of(incoming.version)
    entries = [{"name": n, "kind": "EntitySet", "url": n} for n in model.entity_sets]
    entries += [{"name": n, "kind": "Singleton", "url": n} for n in model.singletons]
    return Answer(200, {"@odata.context": f"{incoming.origin}/{incoming.version}/$metadata", "value": entries})


_GROUPS: Final = {
    errors.PFX_SERVICE: throttling.CONFIGURATION,
    errors.CONFIGURATION_SERVICE: throttling.CONFIGURATION,
    errors.DEVICE_SERVICE: throttling.DEVICES,
    None: throttling.DIRECTORY,
}


def _throttle(cloud: Cloud, caller: Caller, route: Route, request: GraphRequest) -> dict[str, str]:
    """Refuse with 429 above the documented limits, when the switch asks for it; return headers that announce them."""
    group, query = _GROUPS[route.permissions.service], request.query
    cost = 1
    if group == throttling.DIRECTORY:
        few = query.number("top") if query.text("top") else None
        cost = throttling.resource_units(
            request.path, select=bool(query.text("select")), expand=bool(query.text("expand")), top=few
        )
    counted = throttling.Request(group, caller.tenant_id, caller.app_id, request.method not in _READS, cost)
    switches = cloud.config.switches
    verdict = throttling.ThrottleDecision(None, 0.0)
    if switches.throttling != "off":
        verdict = throttling.throttle_of(cloud).judge(cloud.wall.now().timestamp(), counted)
    headers = throttling.directory_headers(counted, verdict) if group == throttling.DIRECTORY else {}
    if verdict.wait is None:
        return headers
    reason = f"more {group} requests in a window than are allowed, the next may come in {verdict.wait:.1f} s"
    headers |= throttling.retry_headers(switches.retry_after, verdict.wait)
    raise errors.too_many(route.permissions.service, headers, reason)


def _without_route(cloud: Cloud, incoming: Incoming, segments: list[str]) -> Answer:
    """Answer a path that the lab has no route for, in this version."""
    other = "beta" if incoming.version == "v1.0" else "v1.0"
    empty_lists = cloud.config.switches.unmodelled_lists == "empty"
    elsewhere = _ROUTER.has(other, segments)
    return unmodelled.answer(incoming, segments, empty_lists=empty_lists, elsewhere=elsewhere)


def _check_names(request: GraphRequest, segments: list[str]) -> str:
    """Refuse names in $select, $orderby and $expand that the type at a path does not have; return that type, or ''."""
    query, version = request.query, request.version
    select, order = query.text("select"), query.text("orderby")
    if not (select or order or query.text("expand")):
        return ""
    try:
        kind = place_of(version, segments).kind
    except NoSuchSegment:
        # The lab has the route and the model has not: nothing is known of its names.
        return ""
    open_types = request.cloud.config.switches.open_type_names == "ignore"
    names.check_select(select or "", kind, version, open_types=open_types)
    names.check_order(order or "", kind, version)
    names.check_expand([one.name for one in query.expansions], kind, version)
    return kind


def _answer(cloud: Cloud, incoming: Incoming) -> Answer:
    public = _public(incoming)
    if public is not None:
        return public
    caller = _caller(cloud, incoming)
    segments = split_path(incoming.path)
    try:
        route, keys, cast = _ROUTER.find(incoming.method, incoming.version, segments)
    except errors.GraphError as refused:
        if refused.rule != "SegmentUnknown":
            raise
        return _without_route(cloud, incoming, segments)
    check(route.permissions, caller)
    request = GraphRequest(
        cloud=cloud,
        caller=caller,
        method=incoming.method,
        root=f"{incoming.origin}/{incoming.version}",
        path="/".join(segments),
        keys=keys,
        cast=cast,
        query=QueryOptions(incoming.query),
        content_type=incoming.headers.get("content-type", ""),
        body=incoming.body,
        if_match=incoming.headers.get("if-match"),
        address=incoming.path.strip("/"),
        accept=incoming.headers.get("accept", ""),
        eventual=incoming.headers.get("consistencylevel", "").lower() == "eventual",
    )
    kind = _check_names(request, segments) if incoming.query and request.method in _READS else ""
    headers = _throttle(cloud, caller, route, request)
    answer = route.handler(request)
    if kind and (select := request.query.text("select")):
        answer = replace(answer, body=names.with_selected(answer.body, select, kind, request.version))
    return replace(answer, headers={**headers, **answer.headers}) if headers else answer
