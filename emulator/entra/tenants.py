"""Which tenant a sign-in address means, and how a refusal is answered."""

from typing import Final

from aiohttp import web

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.edge import CLOUD
from pfxlab.emulator.entra import errors
from pfxlab.emulator.journal.tips import tip
from pfxlab.emulator.store.database import Row
from pfxlab.emulator.wire.text import shown

NO_STORE: Final = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"}
ANY_TENANT: Final = ("common", "organizations", "consumers")


def tenant_of(cloud: Cloud, name: str, upn: str = "", client_id: str = "") -> Row:
    """Return the tenant an address names by GUID or domain.

    `common` and `organizations` mean the tenant of the user's domain, else that of the application, else the first.

    Raises:
        EntraError: no such tenant.

    """
    found: Row | None
    if name.lower() in ANY_TENANT:
        found = cloud.directory.tenant(upn.rpartition("@")[2]) if "@" in upn else None
        app = cloud.directory.app(client_id) if found is None and client_id else None
        found = found or (None if app is None else cloud.directory.tenant(app.tenant_id))
        return found or cloud.directory.tenants()[0]
    found = cloud.directory.tenant(name)
    if found is None:
        raise errors.unknown_tenant(name)
    return found


def refusal(cloud: Cloud, request: web.Request, error: errors.EntraError) -> web.Response:
    """Return a refusal as Entra ID sends it; its true reason goes to the journal."""
    note_refusal(cloud, error)
    return error_answer(request, error)


def note_refusal(cloud: Cloud, error: errors.EntraError) -> None:
    """Write the true reason of a refusal to the journal."""
    known = {"rule": error.rule, "tip": tip(error.rule)} if error.rule else {}
    named = {"upn": error.upn} if error.upn else {}
    cloud.journal.record(
        "entra", "sign-in refused", outcome="refused", reason=error.reason, code=error.number, **known, **named
    )


def error_answer(request: web.Request, error: errors.EntraError) -> web.Response:
    """Return a refusal as Entra ID sends it; nothing is written down."""
    cloud = request.app[CLOUD]
    correlation = shown(request.headers.get("client-request-id", "")) or cloud.traces.guid()
    body = error.body(cloud.wall.now(), cloud.traces.guid(), correlation)
    return web.json_response(body, status=error.status, headers=NO_STORE)
