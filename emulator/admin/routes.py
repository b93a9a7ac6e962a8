"""/admin: routes of the pages. All is rendered here; a page loads style and script from the lab, nothing else."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.resources import files
from typing import Any, Final

from aiohttp import web
from yarl import URL

from pfxlab.emulator.admin.ask_graph import NotTaken, ask_graph
from pfxlab.emulator.admin.export import as_csv, as_json
from pfxlab.emulator.admin.live import Live, as_event
from pfxlab.emulator.admin.page import PREFIX, Look, Shown, View, render
from pfxlab.emulator.admin.pages import (
    certificates,
    connectors,
    devices,
    journal,
    overview,
    profiles,
    reports,
    tour,
    world,
)
from pfxlab.emulator.admin.session import SESSIONS, Session, begin, current, end, is_ours, keep, sign_in
from pfxlab.emulator.boundary import OWN_HOSTS, Component, Problem
from pfxlab.emulator.edge import CLOUD, read_form
from pfxlab.emulator.entra import pages
from pfxlab.emulator.graph.intune import managed_devices
from pfxlab.emulator.lab import control

_POLICY: Final = "default-src 'none'; {} form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY.format(
        "style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self';"
    ),
    # Not "no-referrer": browsers would then say of our own forms that they come from nowhere.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_SIGN_IN: Final = f"{PREFIX}/sign-in"
# The sign-in form, and reports that are pages of their own, have their style in the page.
_INLINE: Final = {**_HEADERS, "Content-Security-Policy": _POLICY.format("style-src 'unsafe-inline';")}
_STATIC: Final = {"style.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}
_NOT_YOURS: Final = "not_yours.html"
_TOURED: Final = "pfxlab_toured"
_YEAR: Final = 365 * 86_400
_LIVE: web.AppKey[Live] = web.AppKey("admin_live")

PAGES: Final[dict[str, View]] = {
    "": overview.show,
    "/connectors": connectors.show_all,
    "/connectors/{id}": connectors.show_one,
    "/certificates": certificates.show_all,
    "/certificates/{id}": certificates.show_one,
    "/profiles": profiles.show_all,
    "/profiles/new": profiles.show_new,
    "/profiles/{id}": profiles.show_one,
    "/devices": devices.show_all,
    "/devices/{id}": devices.show_one,
}
"""Path below /admin → what is shown there."""

OF_THE_LAB: Final[dict[str, View]] = {
    "/journal": journal.show,
    "/reports": reports.show_all,
    "/reports/{name}": reports.show_one,
}
"""Pages about all tenants. The world is one more: it moves what is not the cloud's."""

_WORLD: Final = f"{PREFIX}/world"


def _look(request: web.Request, session: Session) -> Look:
    return Look(
        request.app[CLOUD], session.tenant_id, session.upn, session.csrf, request.path, dict(request.query),
        dict(request.match_info),
    )  # fmt: skip


def _answer(request: web.Request, look: Look, shown: Shown) -> web.Response:
    """Return a page, or its table in the format that the query asks for."""
    form = look.query.get("format")
    if shown.table is not None and form == "json":
        text = as_json([dict(row) for row in shown.table.rows()])
        return web.Response(text=text, content_type="application/json", headers=_HEADERS)
    if shown.table is not None and form == "csv":
        text = as_csv(shown.table.columns, [dict(row) for row in shown.table.rows()])
        return web.Response(text=text, content_type="text/csv", charset="utf-8", headers=_HEADERS)
    first = _TOURED not in request.cookies
    text = render(look, shown, tour=tour.step_of(look), first_visit=first)
    response = web.Response(
        text=text, status=shown.status, content_type="text/html", charset="utf-8", headers=_HEADERS
    )  # fmt: skip
    if "tour" in look.query:
        _remember_tour(response)
    return response


def _remember_tour(response: web.Response) -> None:
    response.set_cookie(_TOURED, "yes", path=PREFIX, max_age=_YEAR, secure=True, httponly=True, samesite="Strict")


def _page(view: View) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Show a page to who has signed in, the sign-in form to anybody else."""

    async def answer(request: web.Request) -> web.StreamResponse:
        session = current(request, request.app[CLOUD].wall.now())
        if session is None:
            return await show_sign_in(request)
        look = _look(request, session)
        return _answer(request, look, view(look))

    return answer


def _lab_only(view: View) -> View:
    """Show a page that is about the whole lab to the lab's own tenant alone."""
    return lambda look: view(look) if look.of_the_lab else Shown(_NOT_YOURS, {}, status=403)


_PATTERNS: Final = [
    (re.compile(re.escape(PREFIX) + re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))), view)
    for path, view in (*PAGES.items(), *((path, _lab_only(view)) for path, view in OF_THE_LAB.items()))
]

Act = Callable[[web.Request, Look, Any], Awaitable[web.Response]]


def _form_of(act: Act) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Do what a form asks for, when it is one of our pages' and its sender has signed in."""

    async def answer(request: web.Request) -> web.StreamResponse:
        session = current(request, request.app[CLOUD].wall.now())
        if session is None:
            return await show_sign_in(request)
        form = await read_form(request)
        if not is_ours(request, session, form):
            request.app[CLOUD].journal.record("admin", "form refused", outcome="refused", reason="not from our pages")
            return web.Response(
                status=403, text="This form was not sent from a page of the admin centre. Reload the page.",
                headers=_HEADERS,
            )  # fmt: skip
        return await act(request, _look(request, session), form)

    return answer


def _to(path: str) -> web.Response:
    return web.Response(status=303, headers={**_HEADERS, "Location": path})


def _form(request: web.Request, problem: str | None = None) -> web.Response:
    target = request.query.get("to", PREFIX) if request.path == _SIGN_IN else _page_of(request)
    text = pages.sign_in("PFX Lab admin centre", _SIGN_IN, {"to": target}, problem)
    status = 401 if problem is not None else 200
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=_INLINE)


def _page_of(request: web.Request) -> str:
    """Return the page that was asked for, or, of a form that was sent, the page that it is on."""
    if request.method in ("GET", "HEAD"):
        return request.path_qs
    path = request.path
    for action in ("/assign", "/delete", "/sync"):
        path = path.removesuffix(action)
    return PREFIX if path.endswith("/sign-out") else path


async def show_sign_in(request: web.Request) -> web.Response:
    """GET /admin/sign-in, and every page before sign-in."""
    return _form(request)


async def do_sign_in(request: web.Request) -> web.Response:
    """POST /admin/sign-in: an administrator's user name and password; back to the page that was asked for."""
    cloud, form = request.app[CLOUD], await read_form(request)
    session = sign_in(cloud, form)
    if session is None:
        cloud.journal.record("admin", "sign-in refused", outcome="refused", reason="no administrator by that password")
        return _form(request, "User name or password is wrong, or the user is no Intune or Global Administrator.")
    to = str(form.get("to", PREFIX))
    # Only our own pages: another address could be anybody's.
    inside = to == PREFIX or to.startswith((f"{PREFIX}/", f"{PREFIX}?"))
    response = _to(to if inside and not set(to) & set("\\\r\n") else PREFIX)
    begin(request, session, response)
    cloud.journal.record("admin", "signed in", upn=session.upn)
    return response


async def _sign_out(request: web.Request, look: Look, _form: Any) -> web.Response:
    response = _to(_SIGN_IN)
    end(request, response)
    look.cloud.journal.record("admin", "signed out", upn=look.upn)
    return response


async def _create_profile(request: web.Request, look: Look, form: Any) -> web.Response:
    entered = {name: str(value) for name, value in form.items()}
    try:
        made = profiles.create(look, entered)
    except NotTaken as problem:
        return _answer(request, look, profiles.show_new(look, entered, str(problem)))
    return _to(f"{PREFIX}/profiles/{made}")


async def _assign_profile(request: web.Request, look: Look, form: Any) -> web.Response:
    try:
        profiles.assign(look, form, form.getall("included", []), form.getall("excluded", []))
    except NotTaken as problem:
        return _answer(request, look, profiles.show_one(look, str(problem)))
    return _to(f"{PREFIX}/profiles/{look.place['id']}")


async def _remove_profile(request: web.Request, look: Look, _form: Any) -> web.Response:
    try:
        return _to(profiles.remove(look))
    except NotTaken as problem:
        return _answer(request, look, profiles.show_one(look, str(problem)))


async def _sync_device(request: web.Request, look: Look, _form: Any) -> web.Response:
    try:
        ask_graph(look, managed_devices.sync_device, None, look.place["id"])
    except NotTaken:
        return _answer(request, look, devices.show_one(look))
    return _to(f"{PREFIX}/devices/{look.place['id']}")


def _show_world(request: web.Request, look: Look, problem: str = "") -> web.Response:
    return _answer(request, look, world.show(look, request.app[control.DRIVER], problem))


async def _world(request: web.Request) -> web.StreamResponse:
    session = current(request, request.app[CLOUD].wall.now())
    if session is None:
        return await show_sign_in(request)
    look = _look(request, session)
    return _show_world(request, look) if look.of_the_lab else _answer(request, look, Shown(_NOT_YOURS, {}, status=403))


async def _move_world(request: web.Request, look: Look, form: Any) -> web.Response:
    if not look.of_the_lab:
        return _answer(request, look, Shown(_NOT_YOURS, {}, status=403))
    session = current(request, look.cloud.wall.now())
    try:
        verb, body, place, done = world.request_of(form)
        await control.perform(request.app, verb, body, place)
    except (control.Refused, ValueError) as problem:
        return _show_world(request, look, str(problem))
    if session is not None:
        # A state that is put back ends sessions; who asked for it goes on.
        keep(request, session, look.cloud.wall.now())
    # A page that was loaded and not the answer to a form: loading it again does nothing twice.
    return _to(f"{_WORLD}?did={done}")


async def _report_file(request: web.Request) -> web.StreamResponse:
    session = current(request, request.app[CLOUD].wall.now())
    if session is None:
        return await show_sign_in(request)
    look = _look(request, session)
    found = await asyncio.to_thread(reports.file_of, look) if look.of_the_lab else None
    if found is None:
        raise web.HTTPNotFound
    content, kind = found
    return web.Response(body=content, content_type=kind, charset="utf-8", headers=_INLINE)


async def _live(request: web.Request) -> web.StreamResponse:
    """GET /admin/live?page=…: what changes on a page, as server-sent events, until the session or the lab ends."""
    cloud = request.app[CLOUD]
    session = current(request, cloud.wall.now())
    if session is None:
        raise web.HTTPUnauthorized
    page = URL(request.query.get("page", ""), encoded=True)
    view, place = _view_of(request, page.path)
    if view is None:
        raise web.HTTPNotFound
    query = {name: value for name, value in page.query.items() if name not in ("tour", "format")}
    look = Look(cloud, session.tenant_id, session.upn, "", page.path, query, place)
    response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
    await response.prepare(request)
    live = request.app[_LIVE]
    channel, event = live.join(look, view)
    sent = ""
    try:
        while not cloud.stopping and current(request, cloud.wall.now()) is not None and _is_open(request):
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), 1.0)
            event.clear()
            if channel.text != sent:
                sent = channel.text
                await response.write(as_event(sent))
    except ConnectionError:
        pass
    finally:
        live.leave(channel, event)
    return response


def _is_open(request: web.Request) -> bool:
    """Return whether the other end still listens: a handler is not told when it goes."""
    return request.transport is not None and not request.transport.is_closing()


def _view_of(request: web.Request, path: str) -> tuple[View | None, dict[str, str]]:
    """Return what is shown at a path, and the values in it."""
    if path == _WORLD:
        return _lab_only(lambda look: world.show(look, request.app[control.DRIVER])), {}
    for pattern, view in _PATTERNS:
        match = pattern.fullmatch(path)
        if match is not None:
            return view, match.groupdict()
    return None, {}


def _static(name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    text = files("pfxlab.emulator.admin").joinpath("static", name).read_text("utf-8")
    headers = {"Cache-Control": "max-age=300", "X-Content-Type-Options": "nosniff"}

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=text, content_type=_STATIC[name], charset="utf-8", headers=headers)

    return answer


async def _no_tour(_request: web.Request) -> web.Response:
    response = _to(PREFIX)
    _remember_tour(response)
    return response


def _problem(_request: web.Request, problem: Problem) -> web.Response:
    text = pages.done("This page cannot be shown", f"{problem.code}: {problem.text}")
    return web.Response(
        text=text, status=problem.status, content_type="text/html", charset="utf-8", headers=_INLINE
    )  # fmt: skip


COMPONENT: Final = Component("admin", _problem, OWN_HOSTS)


def add_routes(app: web.Application) -> None:
    """Register the pages."""
    sessions: dict[str, Session] = {}
    app[SESSIONS] = sessions
    app[CLOUD].on_restore.append(sessions.clear)
    app[_LIVE] = Live(app[CLOUD])
    router = app.router
    for name in _STATIC:
        router.add_get(f"{PREFIX}/{name}", _static(name))
    # Browsers ask for it by themselves, before sign-in as well.
    router.add_get("/favicon.ico", _static("icon.svg"))
    router.add_get(_SIGN_IN, show_sign_in)
    router.add_post(_SIGN_IN, do_sign_in)
    router.add_post(f"{PREFIX}/sign-out", _form_of(_sign_out))
    router.add_get(f"{PREFIX}/live", _live)
    router.add_get(f"{PREFIX}/no-tour", _no_tour)
    for path, view in PAGES.items():
        router.add_get(PREFIX + path, _page(view))
    for path, view in OF_THE_LAB.items():
        router.add_get(PREFIX + path, _page(_lab_only(view)))
    router.add_get(_WORLD, _world)
    router.add_post(_WORLD, _form_of(_move_world))
    router.add_post(f"{PREFIX}/profiles/new", _form_of(_create_profile))
    router.add_post(f"{PREFIX}/profiles/{{id}}/assign", _form_of(_assign_profile))
    router.add_post(f"{PREFIX}/profiles/{{id}}/delete", _form_of(_remove_profile))
    router.add_post(f"{PREFIX}/devices/{{id}}/sync", _form_of(_sync_device))
    router.add_get(f"{PREFIX}/reports/{{name}}/{{file}}", _report_file)
