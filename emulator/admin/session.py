"""Sign-in to the admin centre: an administrator's user name and password once, then a cookie for eight hours."""

import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from aiohttp import web

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.entra.grants import GLOBAL_ADMINISTRATOR, INTUNE_ADMINISTRATOR
from pfxlab.emulator.entra.principals.users import is_enabled

COOKIE: Final = "pfxlab_admin"
_LASTS: Final = timedelta(hours=8)


@dataclass(frozen=True)
class Session:
    """Who looks at the pages, and until when; `csrf` stands in every form of theirs."""

    tenant_id: str
    upn: str
    ends: datetime
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)


SESSIONS = web.AppKey("admin_sessions", dict[str, Session])


def sign_in(cloud: Cloud, form: Mapping[str, Any]) -> Session | None:
    """Return a session for user name and password of an Intune or Global Administrator, or None."""
    upn, password = str(form.get("username", "")), str(form.get("password", ""))
    for tenant in cloud.directory.tenants():
        user = cloud.directory.user(tenant["id"], upn)
        if user is None or not cloud.secrets.matches(password, user["password_hash"]) or not is_enabled(user):
            continue
        if {INTUNE_ADMINISTRATOR, GLOBAL_ADMINISTRATOR} & set(json.loads(user["directory_roles"])):
            return Session(tenant["id"], user["user_principal_name"], cloud.wall.now() + _LASTS)
    return None


def begin(request: web.Request, session: Session, response: web.Response) -> None:
    """Hand the browser a session's cookie: not for scripts, not for other sites, gone with the lab."""
    name = secrets.token_urlsafe(24)
    request.app[SESSIONS][name] = session
    # Lax: a link to a page that somebody shares leads there; forms have their own secret.
    response.set_cookie(cookie(request), name, path="/admin", httponly=True, secure=True, samesite="Lax")


def cookie(request: web.Request) -> str:
    """Return the cookie's name: browsers keep one jar for all ports of a host, and labs differ by their port."""
    return f"{COOKIE}_{request.url.port}"


def end(request: web.Request, response: web.Response) -> None:
    """End the session of a request."""
    request.app[SESSIONS].pop(request.cookies.get(cookie(request), ""), None)
    response.del_cookie(cookie(request), path="/admin")


def keep(request: web.Request, session: Session, now: datetime) -> None:
    """Keep the session of a request over a change that ended it, for as long as if it began now."""
    request.app[SESSIONS][request.cookies.get(cookie(request), "")] = replace(session, ends=now + _LASTS)


def current(request: web.Request, now: datetime) -> Session | None:
    """Return the session of a request; one that has ended is forgotten."""
    sessions, name = request.app[SESSIONS], request.cookies.get(cookie(request), "")
    found = sessions.get(name)
    if found is not None and found.ends <= now:
        del sessions[name]
        return None
    return found


def is_ours(request: web.Request, session: Session, form: Mapping[str, Any]) -> bool:
    """Return whether a form came from a page of this session, and not from another site."""
    origin = request.headers.get("Origin", "")
    here = not origin or origin == f"https://{request.host}"
    return here and hmac.compare_digest(str(form.get("csrf", "")).encode(), session.csrf.encode())
