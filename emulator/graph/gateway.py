"""The gateway in front of Graph: token check, routing, headers, error answers, one journal line for each request."""

import json
import logging
from typing import Any

import jwt
from aiohttp import web

from emulator.cloud import Cloud
from emulator.edge import CLOUD, origin_of
from emulator.entra.grants import audiences
from emulator.graph import device_configurations, directory, errors, managed_devices, user_pfx_certificates
from emulator.graph.odata import QueryOptions
from emulator.graph.permissions import check
from emulator.graph.request import Answer, Caller, GraphRequest
from emulator.graph.router import Router, split_path

JSON_TYPE = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
_DIAGNOSTIC = json.dumps(
    {
        "ServerInfo": {
            "DataCenter": "PFX Lab",
            "Slice": "E",
            "Ring": "0",
            "ScaleUnit": "000",
            "RoleInstance": "TESTONLY",
        }
    }
)


def build_router() -> Router:
    """Return the router with every resource of the emulator."""
    router = Router()
    for resource in (user_pfx_certificates, device_configurations, directory, managed_devices):
        resource.add_routes(router)
    return router


_LOG = logging.getLogger(__name__)
_ROUTER = build_router()


def caller_of(cloud: Cloud, authorization: str | None, origin: str) -> Caller:
    """Return who a bearer token speaks for.

    Raises:
        GraphError: no token, not ours, another audience, or expired.

    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise errors.unauthenticated("Access token is empty.", "expected 'Authorization: Bearer …'")
    try:
        claims = cloud.signing_key.verify(token.strip(), audiences(origin))
    except jwt.InvalidAudienceError as error:
        text = "Access token validation failure. Invalid audience."
        raise errors.unauthenticated(text, f"the token's audience is not Graph ({error})") from None
    except jwt.InvalidSignatureError:
        text = "Access token validation failure. Invalid signature."
        raise errors.unauthenticated(text, "another authority signed the token") from None
    except jwt.InvalidTokenError as error:
        text = (
            "IDX14100: JWT is not well formed, there are no dots (.).\n"
            "The token needs to be in JWS or JWE Compact Serialization Format."
        )
        raise errors.unauthenticated(text, f"not a token of this lab ({type(error).__name__})") from None
    if claims["exp"] <= cloud.clock.now().timestamp():
        text = "Lifetime validation failed, the token is expired."
        raise errors.unauthenticated(text, f"the token expired at {claims['exp']}")
    return _caller(claims)


def _caller(claims: dict[str, Any]) -> Caller:
    if "scp" in claims:
        return Caller(
            claims["tid"],
            claims["appid"],
            frozenset(claims["scp"].split()),
            claims["oid"],
            frozenset(claims["wids"]),
        )
    return Caller(claims["tid"], claims["appid"], frozenset(claims.get("roles", ())))


async def handle(request: web.Request) -> web.Response:
    """Answer any request below /beta or /v1.0."""
    cloud = request.app[CLOUD]
    request_id = cloud.traces.guid()
    client_request_id = request.headers.get("client-request-id") or request_id
    version, path = request.match_info["version"].lower(), request.match_info["tail"].strip("/")
    raw_path = request.rel_url.raw_path.lstrip("/").partition("/")[2].strip("/")
    segments = split_path(raw_path)
    try:
        answer = await _guarded(cloud, request, version, segments)
    except errors.GraphError as error:
        place = errors.ErrorPlace(request_id, client_request_id, cloud.clock.now(), path, version)
        cloud.journal.record(
            "graph", "request refused", outcome="refused", reason=error.reason, method=request.method,
            path=f"/{version}/{path}", status=error.status, code=error.code, request_id=request_id,
        )  # fmt: skip
        body = json.dumps(errors.body(error, place))
        response = web.Response(status=error.status, text=body, content_type="application/json", headers=error.headers)
    else:
        response = _response(answer)
    response.headers["request-id"] = request_id
    response.headers["client-request-id"] = client_request_id
    response.headers["x-ms-ags-diagnostic"] = _DIAGNOSTIC
    response.headers["Strict-Transport-Security"] = "max-age=31536000"
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Vary"] = "Accept-Encoding"
    return response


async def _guarded(cloud: Cloud, request: web.Request, version: str, segments: list[str]) -> Answer:
    """Answer, and turn what nobody foresaw into Graph's own 500; the journal has what it was."""
    try:
        return await _answer(cloud, request, version, segments)
    except web.HTTPRequestEntityTooLarge:
        raise errors.too_large() from None
    except (errors.GraphError, web.HTTPException, ConnectionError):
        raise
    except Exception as error:
        _LOG.exception("unforeseen error")
        raise errors.internal(f"defect of the lab: {type(error).__name__}") from error


async def _answer(cloud: Cloud, request: web.Request, version: str, segments: list[str]) -> Answer:
    origin = origin_of(request)
    caller = caller_of(cloud, request.headers.get("Authorization"), origin)
    route, keys = _ROUTER.find(request.method, version, segments)
    check(route.permissions, caller)
    return route.handler(
        GraphRequest(
            cloud=cloud,
            caller=caller,
            method=request.method,
            root=f"{origin}/{version}",
            path="/".join(segments),
            keys=keys,
            query=QueryOptions(request.rel_url.raw_query_string),
            content_type=request.headers.get("Content-Type", ""),
            body=await request.read(),
        )
    )


def _response(answer: Answer) -> web.Response:
    if answer.body is None:
        return web.Response(status=answer.status, headers=answer.headers)
    if isinstance(answer.body, str):
        return web.Response(status=answer.status, text=answer.body, headers=answer.headers)
    headers = {**answer.headers, "OData-Version": "4.0", "Content-Type": JSON_TYPE}
    return web.Response(status=answer.status, body=json.dumps(answer.body).encode(), headers=headers)


async def no_version(request: web.Request) -> web.Response:
    """Answer a path that begins with no version: 404 with Graph's own text."""
    segment = request.path.lstrip("/").partition("/")[0]
    error = errors.invalid_version(segment)
    request_id = request.app[CLOUD].traces.guid()
    place = errors.ErrorPlace(request_id, request_id, request.app[CLOUD].clock.now(), request.path, "")
    return web.json_response(errors.body(error, place), status=404, headers={"request-id": request_id})


def add_routes(app: web.Application) -> None:
    """Register Graph; `no_version` must come after every other room."""
    app.router.add_route("*", "/{version:(?i:beta|v1\\.0)}{tail:/.*|$}", handle)
