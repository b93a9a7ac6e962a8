"""Sign-in to the admin centre: an administrator's user name and password once, then a cookie for eight hours."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from aiohttp import web

from emulator.cloud import Cloud
from emulator.entra.grants import GLOBAL_ADMINISTRATOR, INTUNE_ADMINISTRATOR, is_enabled

COOKIE: Final = "pfxlab_admin"
_LASTS: Final = timedelta(hours=8)


@dataclass(frozen=True)
class Session:
    """Who looks at the pages, and until when."""

    tenant_id: str
    upn: str
    ends: datetime


SESSIONS = web.AppKey("admin_sessions", dict[str, Session])


def sign_in(cloud: Cloud, form: Mapping[str, Any]) -> Session | None:
    """Return a session for user name and password of an Intune or Global Administrator, or None."""
    upn, password = str(form.get("username", "")), str(form.get("password", ""))
    for tenant in cloud.directory.tenants():
        user = cloud.directory.user(tenant["id"], upn)
        if user is None or not cloud.secrets.matches(password, user["password_hash"]) or not is_enabled(user):
            continue
        if {INTUNE_ADMINISTRATOR, GLOBAL_ADMINISTRATOR} & set(json.loads(user["directory_roles"])):
            return Session(tenant["id"], user["user_principal_name"], cloud.clock.now() + _LASTS)
    return None


def begin(request: web.Request, session: Session, response: web.Response) -> None:
    """Hand the browser a session's cookie: not for scripts, not for other sites, gone with the lab."""
    name = secrets.token_urlsafe(24)
    request.app[SESSIONS][name] = session
    response.set_cookie(COOKIE, name, path="/admin", httponly=True, secure=True, samesite="Strict")


def current(request: web.Request, now: datetime) -> Session | None:
    """Return the session of a request; one that has ended is forgotten."""
    sessions, name = request.app[SESSIONS], request.cookies.get(COOKIE, "")
    found = sessions.get(name)
    if found is not None and found.ends <= now:
        del sessions[name]
        return None
    return found
