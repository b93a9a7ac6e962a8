"""The lab's control API: health, and the journal with true reasons. Needs its own token."""

import hmac
from dataclasses import asdict

from aiohttp import web

from emulator.edge import CLOUD

CONTROL_TOKEN = web.AppKey("control_token", str)
PREFIX = "/lab/v1"


async def health(request: web.Request) -> web.Response:
    """GET /lab/v1/health: the emulator answers."""
    cloud = request.app[CLOUD]
    return web.json_response({"status": "ok", "seed": cloud.config.seed, "time": cloud.clock.now().isoformat()})


async def journal(request: web.Request) -> web.Response:
    """GET /lab/v1/journal?after=N&outcome=refused&party=graph: entries, oldest first."""
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), request.app[CONTROL_TOKEN].encode()):
        message = "expected 'Authorization: Bearer' with the control token of the ready file"
        return web.json_response({"error": {"code": "ControlToken", "message": message}}, status=401)
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
