"""/admin: routes of the pages. All is rendered here; a page loads its style from here and nothing from elsewhere."""

from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment, PackageLoader

from emulator.admin import connectors
from emulator.admin.export import as_csv, as_json
from emulator.admin.session import SESSIONS, Session, begin, current, sign_in
from emulator.edge import CLOUD
from emulator.entra import pages

PREFIX: Final = "/admin"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_SIGN_IN: Final = f"{PREFIX}/sign-in"
# The sign-in form has its style in the page.
_SIGN_IN_HEADERS: Final = {
    **_HEADERS,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
}
_TEMPLATES: Final = Environment(loader=PackageLoader("emulator.admin"), autoescape=True, trim_blocks=True)

Page = Callable[[web.Request, Session], web.Response]


def _render(request: web.Request, session: Session, template: str, status: int = 200, **values: Any) -> web.Response:
    text = _TEMPLATES.get_template(template).render(session=session, path=request.path, **values)
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=_HEADERS)


def _table(request: web.Request, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> web.Response | None:
    """Return a page's table in the format the query asks for, or None when it asks for the page."""
    form = request.query.get("format")
    if form == "json":
        return web.Response(text=as_json(rows), content_type="application/json", headers=_HEADERS)
    if form == "csv":
        return web.Response(text=as_csv(columns, rows), content_type="text/csv", charset="utf-8", headers=_HEADERS)
    return None


def _signed_in(page: Page) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Show a page to who has signed in, the sign-in form to anybody else."""

    async def answer(request: web.Request) -> web.Response:
        session = current(request, request.app[CLOUD].clock.now())
        return await show_sign_in(request) if session is None else page(request, session)

    return answer


def _form(request: web.Request, problem: str | None = None) -> web.Response:
    target = request.path_qs if request.path != _SIGN_IN else request.query.get("to", PREFIX)
    text = pages.sign_in("PFX Lab admin centre", _SIGN_IN, {"to": target}, problem)
    status = 401 if problem is not None else 200
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=_SIGN_IN_HEADERS)


async def show_sign_in(request: web.Request) -> web.Response:
    """GET /admin/sign-in, and every page before sign-in."""
    return _form(request)


async def do_sign_in(request: web.Request) -> web.Response:
    """POST /admin/sign-in: an administrator's user name and password; back to the page that was asked for."""
    cloud, form = request.app[CLOUD], await request.post()
    session = sign_in(cloud, form)
    if session is None:
        cloud.journal.record("admin", "sign-in refused", outcome="refused", reason="no administrator by that password")
        return _form(request, "User name or password is wrong, or the user is no Intune or Global Administrator.")
    to = str(form.get("to", PREFIX))
    # Only our own pages: another address could be anybody's.
    inside = to == PREFIX or (to.startswith(f"{PREFIX}/") and "\\" not in to and "\r" not in to and "\n" not in to)
    response = web.Response(status=303, headers={**_HEADERS, "Location": to if inside else PREFIX})
    begin(request, session, response)
    cloud.journal.record("admin", "signed in", upn=session.upn)
    return response


def list_connectors(request: web.Request, session: Session) -> web.Response:
    """GET /admin/connectors."""
    rows = connectors.rows(request.app[CLOUD], session.tenant_id)
    exported = _table(request, connectors.COLUMNS, rows)
    return exported or _render(request, session, "connectors.html", connectors=rows)


def show_connector(request: web.Request, session: Session) -> web.Response:
    """GET /admin/connectors/{id}: state, what it processed, and its event log; `?level=Error` narrows that down."""
    cloud, wanted = request.app[CLOUD], request.match_info["id"]
    connector = cloud.connectors.get(wanted)
    if connector is None or connector.tenant_id != session.tenant_id:
        return _render(request, session, "missing.html", 404, what="connector", wanted=wanted)
    events = connectors.events(cloud, connector.id, request.query)
    exported = _table(request, connectors.EVENT_COLUMNS, events)
    return exported or _render(
        request,
        session,
        "connector.html",
        connector=connectors.summary(cloud, connector, cloud.clock.now()),
        processed=connectors.processed(cloud, connector.id),
        events=events,
        levels=connectors.LEVELS,
        level=request.query.get("level", ""),
    )


async def _style(_request: web.Request) -> web.Response:
    text = files("emulator.admin").joinpath("style.css").read_text("utf-8")
    return web.Response(text=text, content_type="text/css", charset="utf-8", headers={"Cache-Control": "max-age=300"})


async def _home(_request: web.Request) -> web.Response:
    return web.Response(status=302, headers={**_HEADERS, "Location": f"{PREFIX}/connectors"})


def add_routes(app: web.Application) -> None:
    """Register the pages."""
    sessions: dict[str, Session] = {}
    app[SESSIONS] = sessions
    app[CLOUD].on_restore.append(sessions.clear)
    app.router.add_get(PREFIX, _home)
    app.router.add_get(f"{PREFIX}/style.css", _style)
    app.router.add_get(_SIGN_IN, show_sign_in)
    app.router.add_post(_SIGN_IN, do_sign_in)
    app.router.add_get(f"{PREFIX}/connectors", _signed_in(list_connectors))
    app.router.add_get(f"{PREFIX}/connectors/{{id}}", _signed_in(show_connector))
