"""Interactive sign-in: authorization code with PKCE, device code, administrator's consent.

The answer goes where `response_mode` says: sources.md#authorize-response-mode.
"""

import json
import secrets
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.edge import CLOUD, origin_of, read_form
from pfxlab.emulator.entra import errors, pages, v1
from pfxlab.emulator.entra.grants import GLOBAL_ADMINISTRATOR
from pfxlab.emulator.entra.principals.applications import application
from pfxlab.emulator.entra.sign_in_steps import Form, Page, SignedIn, automatic, next_step
from pfxlab.emulator.entra.tenants import NO_STORE, refusal, tenant_of
from pfxlab.emulator.hosts.microsoft import microsoft_host
from pfxlab.emulator.store.database import Row
from pfxlab.emulator.store.directory import App
from pfxlab.emulator.store.tickets import AUTHORIZATION_CODE, DEVICE_CODE

_PRIVILEGED_ROLE_ADMINISTRATOR: Final = "e8611ab8-c189-46e8-94e1-60213ab1f814"
_APPLICATION_ADMINISTRATOR: Final = "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3"
_CLOUD_APPLICATION_ADMINISTRATOR: Final = "158c047a-c907-4556-b7ef-446551a6b5f7"
_CONSENT_TO_ALL: Final = frozenset({GLOBAL_ADMINISTRATOR, _PRIVILEGED_ROLE_ADMINISTRATOR})
_CONSENT_TO_SCOPES: Final = frozenset({_APPLICATION_ADMINISTRATOR, _CLOUD_APPLICATION_ADMINISTRATOR})
_CODE_SECONDS: Final = 600
_DEVICE_SECONDS: Final = 900
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ23456789"
_NATIVE: Final = "https://login.microsoftonline.com/common/oauth2/nativeclient"


def _tenant_and_app(cloud: Cloud, request: web.Request, client_id: str) -> tuple[Row, App]:
    """Return the tenant of the address and the application that asks, registered there.

    Raises:
        EntraError: one of them does not exist.

    """
    tenant = tenant_of(cloud, request.match_info["tenant"], client_id=client_id)
    return tenant, application(cloud, client_id, tenant)


def _is_v2(request: web.Request) -> bool:
    return "/v2.0/" in request.path


def _in_v2(request: web.Request, fields: Mapping[str, str]) -> Mapping[str, str]:
    """Return a query or form as version 2 has it."""
    return fields if _is_v2(request) else v1.as_v2(fields)


def _own_origin(request: web.Request) -> str:
    """Return the address of a page for a person: where the client asked one of Microsoft's names, the lab's own.

    The client may have gone through the lab's proxy, where the person's browser does not go.
    """
    host = request.host.partition(":")[0]
    socket = None if request.transport is None else request.transport.get_extra_info("sockname")
    if microsoft_host(host) is None or socket is None:
        return origin_of(request)
    return f"https://localhost:{socket[1]}"


def _check_redirect(uri: str) -> None:
    """Let an address of this machine pass, whatever its port; nothing of the lab is sent anywhere else."""
    # Browsers read a backslash as a slash and drop control characters: what they would read otherwise is refused.
    # A fragment would take the answer in (RFC 6749, section 3.1.2).
    odd = any(character <= " " or character in "\\@#\x7f" for character in uri) or not uri.isascii()
    try:
        parts = urlsplit(uri)
        here = parts.scheme in ("http", "https") and parts.hostname in ("localhost", "127.0.0.1", "::1")
        odd = odd or parts.port == 0
    except ValueError:
        here = False
    if uri != _NATIVE and (odd or not here):
        raise errors.bad_redirect(uri)


async def _step(request: web.Request, tenant_id: str, form: Form) -> SignedIn | Page:
    """Return who has signed in, by the form that was posted or by itself, or the page that comes next."""
    cloud = request.app[CLOUD]
    if request.method == "POST":
        return next_step(cloud, tenant_id, await read_form(request), form)
    return automatic(cloud, tenant_id) or Page(pages.sign_in(form.title, form.action, form.hidden))


def _html(text: str, status: int = 200, redirect_uri: str | None = None) -> web.Response:
    headers = {**NO_STORE, **pages.headers(redirect_uri)}
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=headers)


PAGES: Final = ("/authorize", "/deviceauth", "/adminconsent")
"""Ends of the addresses where a person looks."""


def problem_page(error: errors.EntraError) -> web.Response:
    """Return a refusal as a page."""
    return _html(pages.done("Sign-in failed", f"AADSTS{error.number}: {error.text}"), error.status)


async def authorize(request: web.Request) -> web.Response:
    """GET shows the sign-in form, or redirects at once for the automatic user; POST takes the form."""
    cloud, query = request.app[CLOUD], _in_v2(request, request.query)
    try:
        tenant, app = _tenant_and_app(cloud, request, query.get("client_id", ""))
        redirect_uri = query.get("redirect_uri", "")
        _check_redirect(redirect_uri)
        if query.get("code_challenge_method", "S256") != "S256" or "code" not in query.get("response_type", ""):
            raise errors.missing_parameter("response_type=code with code_challenge_method=S256")
    except errors.EntraError as error:
        return problem_page(error)
    step = await _step(request, tenant["id"], Form(f"Sign in to {app.display_name}", str(request.rel_url)))
    if isinstance(step, Page):
        return _html(step.text, step.status, redirect_uri)
    user = step.user
    code = cloud.tickets.issue(
        AUTHORIZATION_CODE, cloud.wall.now(), _CODE_SECONDS, tenant_id=tenant["id"], app_id=app.id,
        user_id=user["id"], scope=query.get("scope", ""),
        facts={
            "redirect_uri": redirect_uri,
            "code_challenge": query.get("code_challenge"),
            "nonce": query.get("nonce"),
            "second_factor": step.second_factor,
        },
    )  # fmt: skip
    cloud.journal.record("entra", "authorization code issued", client=app.id, user=user["id"])
    answer = {"code": code, "session_state": cloud.traces.guid()}
    return _answer(redirect_uri, query.get("response_mode", "query"), answer | _state(query))


def _state(query: Mapping[str, str]) -> dict[str, str]:
    return {"state": query["state"]} if "state" in query else {}


def _answer(redirect_uri: str, mode: str, fields: dict[str, str]) -> web.Response:
    if mode == "form_post":
        return _html(pages.form_post(redirect_uri, fields), redirect_uri=redirect_uri)
    mark = "#" if mode == "fragment" else ("&" if "?" in redirect_uri else "?")
    return web.Response(status=302, headers={"Location": f"{redirect_uri}{mark}{urlencode(fields)}", **NO_STORE})


async def device_code(request: web.Request) -> web.Response:
    """POST /{tenant}/oauth2/v2.0/devicecode, and /oauth2/devicecode."""
    cloud, form = request.app[CLOUD], _in_v2(request, await read_form(request))
    try:
        tenant, app = _tenant_and_app(cloud, request, form.get("client_id", ""))
    except errors.EntraError as error:
        return refusal(cloud, request, error)
    user_code = "".join(secrets.choice(_LETTERS) for _ in range(9))
    by_itself = automatic(cloud, tenant["id"])
    facts = {"user_code": user_code, "second_factor": by_itself is not None and by_itself.second_factor}
    value = cloud.tickets.issue(
        DEVICE_CODE, cloud.wall.now(), _DEVICE_SECONDS, tenant_id=tenant["id"], app_id=app.id,
        user_id=None if by_itself is None else by_itself.user["id"], scope=str(form.get("scope", "")), facts=facts,
    )  # fmt: skip
    address = f"{_own_origin(request)}/common/oauth2/deviceauth"
    body = {
        "user_code": user_code,
        "device_code": value,
        "verification_uri": address,
        "expires_in": _DEVICE_SECONDS,
        "interval": 1,
        "message": f"To sign in, use a web browser to open the page {address} and enter the code {user_code}.",
    }
    return web.json_response(body if _is_v2(request) else v1.device_answer(body), headers=NO_STORE)


async def device_auth(request: web.Request) -> web.Response:
    """GET shows the page for a user code, POST approves it."""
    cloud, title = request.app[CLOUD], "Enter code"
    if request.method == "GET":
        return _html(pages.sign_in(title, request.path, {}, code=True))
    user_code = (await read_form(request)).get("user_code", "")
    ticket = cloud.tickets.with_user_code(user_code)
    if ticket is None or ticket.expires <= cloud.wall.now():
        return _html(pages.sign_in(title, request.path, {}, "That code did not work. Check it.", code=True), 400)
    step = await _step(request, ticket.tenant_id, Form(title, request.path, {"user_code": user_code}, code=True))
    if isinstance(step, Page):
        return _html(step.text, step.status)
    cloud.tickets.approve(ticket, step.user["id"], second_factor=step.second_factor)
    cloud.journal.record("entra", "device code approved", client=ticket.app_id, user=step.user["id"])
    return _html(pages.done("Signed in", "You have signed in on your device. You may now close this window."))


def may_consent(roles: Iterable[str], app: App) -> bool:
    """Return whether one of these directory roles consents for the whole tenant to what an application asks for.

    Source: sources.md#admin-consent-roles.
    """
    held = set(roles)
    return bool(held & _CONSENT_TO_ALL) or (not app.requested_app_roles and bool(held & _CONSENT_TO_SCOPES))


async def admin_consent(request: web.Request) -> web.Response:
    """GET shows the form, POST by an administrator grants the application all it asks for."""
    cloud, query = request.app[CLOUD], request.query
    try:
        tenant, app = _tenant_and_app(cloud, request, query.get("client_id", ""))
        redirect_uri = query.get("redirect_uri")
        if redirect_uri is not None:
            _check_redirect(redirect_uri)
    except errors.EntraError as error:
        return _html(pages.done("Consent failed", f"AADSTS{error.number}: {error.text}"), error.status)
    asked = ", ".join((*app.requested_app_roles, *app.requested_scopes)) or "nothing"
    form = Form(f"{app.display_name} asks for: {asked}", str(request.rel_url))
    step = await _step(request, tenant["id"], form)
    if isinstance(step, Page):
        return _html(step.text, step.status, redirect_uri)
    user = step.user
    if not may_consent(json.loads(user["directory_roles"]), app):
        problem = "An administrator must sign in who may consent for the tenant."
        return _html(pages.sign_in(form.title, form.action, {}, problem), redirect_uri=redirect_uri)
    cloud.directory.consent(app)
    cloud.journal.record("entra", "admin consent", client=app.id, user=user["id"])
    if redirect_uri is None:
        return _html(pages.done("Consent granted", f"{app.display_name} has the permissions it requested."))
    fields = {"admin_consent": "True", "tenant": str(tenant["id"])} | _state(query)
    return _answer(redirect_uri, "query", fields)


def add_routes(app: web.Application) -> None:
    """Register the interactive endpoints."""
    for version in ("oauth2/v2.0", "oauth2"):
        app.router.add_get(f"/{{tenant}}/{version}/authorize", authorize)
        app.router.add_post(f"/{{tenant}}/{version}/authorize", authorize)
        app.router.add_post(f"/{{tenant}}/{version}/devicecode", device_code)
    app.router.add_get("/common/oauth2/deviceauth", device_auth)
    app.router.add_post("/common/oauth2/deviceauth", device_auth)
    for path in ("/{tenant}/adminconsent", "/{tenant}/v2.0/adminconsent"):
        app.router.add_get(path, admin_consent)
        app.router.add_post(path, admin_consent)
