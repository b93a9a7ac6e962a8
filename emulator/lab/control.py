"""The lab's control API: health, switches, and the journal with true reasons. Needs its own token."""

import hmac
import json
from dataclasses import asdict, replace

from aiohttp import web

from emulator.config import switches_with
from emulator.edge import CLOUD

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


async def journal(request: web.Request) -> web.Response:
    """GET /lab/v1/journal?after=N&outcome=refused&party=graph: entries, oldest first."""
    refused = _refusal(request)
    if refused is not None:
        return refused
    after = request.query.get("after", "0")
    if not (after.isascii() and after.isdigit() and len(after) < 16):
        message = f"expected a sequence number as 'after', got {after[:40]!r}"
        return web.json_response({"error": {"code": "BadQuery", "message": message}}, status=400)
    outcome, party = request.query.get("outcome"), request.query.get("party")
    entries = request.app[CLOUD].journal.entries(after=int(after), outcome=outcome, party=party)
    return web.json_response({"entries": [asdict(entry) for entry in entries]})


def add_routes(app: web.Application) -> None:
    """Register the control API."""
    app.router.add_get(f"{PREFIX}/health", health)
    app.router.add_get(f"{PREFIX}/journal", journal)
    app.router.add_get(f"{PREFIX}/switches", switches)
    app.router.add_patch(f"{PREFIX}/switches", switches)
