"""The lab's control API: health, switches, and the journal with true reasons. Needs its own token."""

import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Final

from aiohttp import web

from emulator.cloud import Cloud
from emulator.config import switches_with
from emulator.edge import CLOUD
from emulator.lab.explain import explain

CONTROL_TOKEN = web.AppKey("control_token", str)
PREFIX = "/lab/v1"


async def health(request: web.Request) -> web.Response:
    """GET /lab/v1/health: the emulator answers."""
    cloud = request.app[CLOUD]
    return web.json_response({"status": "ok", "seed": cloud.config.seed, "time": cloud.clock.now().isoformat()})


def _refusal(request: web.Request) -> web.Response | None:
    """Return the refusal of a request without the control token, or None."""
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if hmac.compare_digest(given.encode("utf-8", "surrogateescape"), request.app[CONTROL_TOKEN].encode()):
        return None
    message = "expected 'Authorization: Bearer' with the control token of the ready file"
    return web.json_response({"error": {"code": "ControlToken", "message": message}}, status=401)


async def switches(request: web.Request) -> web.Response:
    """GET /lab/v1/switches: all of them; PATCH with {"name": value, …}: set some, from the next request on."""
    refused = _refusal(request)
    if refused is not None:
        return refused
    cloud = request.app[CLOUD]
    if request.method == "PATCH":
        try:
            changes = json.loads(await request.read())
            if not isinstance(changes, dict):
                raise ValueError(f"expected a JSON object, got {type(changes).__name__}")
            changed = switches_with(cloud.config.switches, changes)
        except (ValueError, RecursionError) as error:
            return web.json_response({"error": {"code": "BadSwitch", "message": str(error)}}, status=400)
        cloud.config = replace(cloud.config, switches=changed)
        cloud.journal.record("lab", "switches set", **{name: str(value) for name, value in changes.items()})
    return web.json_response(asdict(cloud.config.switches))


_FILTERS: Final = ("outcome", "party", "event", "rule", "path", "client")


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise ValueError(f"expected a whole number as {name!r}, got {text[:40]!r}")
    return int(text)


async def journal(request: web.Request) -> web.Response:
    """GET /lab/v1/journal?after=N&limit=N&outcome=refused&party=graph&event=…&rule=…&path=…&client=…: oldest first."""
    refused = _refusal(request)
    if refused is not None:
        return refused
    try:
        unknown = sorted(set(request.query) - {"after", "limit", *_FILTERS})
        if unknown:
            raise ValueError(f"expected after, limit, {', '.join(_FILTERS)}, got {unknown[0][:40]!r}")
        after, limit = _number(request, "after", 0), min(_number(request, "limit", 1000), 10_000)
    except ValueError as error:
        return web.json_response({"error": {"code": "BadQuery", "message": str(error)}}, status=400)
    wanted = {name: request.query[name] for name in _FILTERS if name in request.query}
    entries = request.app[CLOUD].journal.entries(after=after, limit=limit, newest=False, **wanted)
    return web.json_response({"entries": [asdict(entry) for entry in entries]})


def _tenant_of(cloud: Cloud, asked: Mapping[str, str]) -> str:
    """Return the tenant that is asked for, else the one whose domain the user's name ends with, else the lab's own."""
    domain = asked.get("user", "").rpartition("@")[2]
    found = cloud.directory.tenant(asked.get("tenant", domain)) or cloud.directory.tenants()[0]
    return str(found["id"])


async def explain_(request: web.Request) -> web.Response:
    """GET /lab/v1/explain?user=…&device=…&thumbprint=…&tenant=…: why certificates have, or have not, arrived."""
    refused = _refusal(request)
    if refused is not None:
        return refused
    cloud, asked = request.app[CLOUD], request.query
    unknown = sorted(set(asked) - {"user", "device", "thumbprint", "tenant"})
    tenant = _tenant_of(cloud, asked)
    if unknown or not asked.get("user"):
        message = f"expected user, and maybe device, thumbprint and tenant, got {', '.join(unknown) or 'no user'}"
        return web.json_response({"error": {"code": "BadQuery", "message": message[:300]}}, status=400)
    told = explain(cloud, tenant, asked["user"], asked.get("device"), asked.get("thumbprint"))
    return web.json_response({"explanations": [one.to_json() for one in told]})


def add_routes(app: web.Application) -> None:
    """Register the control API."""
    app.router.add_get(f"{PREFIX}/health", health)
    app.router.add_get(f"{PREFIX}/journal", journal)
    app.router.add_get(f"{PREFIX}/explain", explain_)
    app.router.add_get(f"{PREFIX}/switches", switches)
    app.router.add_patch(f"{PREFIX}/switches", switches)
