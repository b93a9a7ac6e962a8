"""/users and /me. Source: sources.md#users."""

import json
from typing import Any, Final

from pfxlab.emulator.entra.principals.users import renew_password
from pfxlab.emulator.entra.token_checks import revoke_sessions_of, token_checks_of
from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.bodies import check, read_json
from pfxlab.emulator.graph.collection import Collection, Listing, StoredListing, add_listing
from pfxlab.emulator.graph.directory.expansions import expanded
from pfxlab.emulator.graph.directory.user_properties import (
    USER_PROPERTIES,
    more_properties,
    refuse_read_only,
)
from pfxlab.emulator.graph.directory.visibility import visible
from pfxlab.emulator.graph.permissions import ME_READ, USER_READ, USER_WRITE
from pfxlab.emulator.graph.request import Answer, GraphRequest, Json
from pfxlab.emulator.graph.router import Route, Router
from pfxlab.emulator.intune.deliveries import profiles_changed
from pfxlab.emulator.store.database import Row, from_text, to_text
from pfxlab.emulator.store.lists.user_properties import USER_PROPERTY_FIELDS
from pfxlab.emulator.store.lists.views import USERS as VIEW
from pfxlab.emulator.wire.edm import format_date_time
from pfxlab.emulator.wire.ids import check_upn
from pfxlab.emulator.wire.text import quoted

USER_FIELDS: Final = {
    "id": VIEW["id"],
    "userPrincipalName": VIEW["user_principal_name"],
    "displayName": VIEW["display_name"],
    "mail": VIEW["mail"],
    "createdDateTime": VIEW["created"],
    "accountEnabled": VIEW["account_enabled"],
    "userType": VIEW["user_type"],
    "mailNickname": VIEW["mail_nickname"],
    "givenName": VIEW["given_name"],
    "surname": VIEW["surname"],
    "jobTitle": VIEW["job_title"],
    "mobilePhone": VIEW["mobile_phone"],
    "officeLocation": VIEW["office_location"],
    "preferredLanguage": VIEW["preferred_language"],
    **USER_PROPERTY_FIELDS,
}
_PLAIN: Final = ("givenName", "jobTitle", "mobilePhone", "officeLocation", "preferredLanguage", "surname")
_KEPT: Final = (*_PLAIN, "businessPhones", "accountEnabled", "userType", "mailNickname", *USER_PROPERTIES)


def user_json(row: Row) -> Json:
    """Return a user with the properties beta shows without $select, as far as the lab knows them."""
    held = json.loads(row["properties"])
    plain = {name: held.get(name) for name in _PLAIN}
    return {
        "businessPhones": held.get("businessPhones", []),
        "displayName": row["display_name"],
        "givenName": plain["givenName"],
        "jobTitle": plain["jobTitle"],
        "mail": row["mail"],
        "mobilePhone": plain["mobilePhone"],
        "officeLocation": plain["officeLocation"],
        "preferredLanguage": plain["preferredLanguage"],
        "surname": plain["surname"],
        "userPrincipalName": row["user_principal_name"],
        "id": row["id"],
        "accountEnabled": held.get("accountEnabled", True),
        "createdDateTime": format_date_time(from_text(row["created"])),
        "userType": held.get("userType", "Member"),
        "mailNickname": held.get("mailNickname", row["user_principal_name"].partition("@")[0]),
        **more_properties(row, held),
    }


_SEARCHED: Final = ("displayName", "mail", "userPrincipalName")


def _shown(request: GraphRequest, item: Json) -> Json:
    return expanded(request, "user", visible(request, "user", item))


USERS: Final = StoredListing(
    "user",
    Collection("users", VIEW, USER_FIELDS, "user", user_json, counts=False, searched=_SEARCHED),
    _shown,
)


def _users(_: GraphRequest) -> Listing:
    return USERS


def find_user(request: GraphRequest) -> Row:
    """Return the user a path names by id or userPrincipalName.

    Raises:
        GraphError: there is none in the caller's tenant.

    """
    row = request.cloud.directory.user(request.caller.tenant_id, request.keys[0])
    if row is None:
        raise errors.directory_not_found(request.keys[0])
    return row


def _one(request: GraphRequest, row: Row) -> Answer:
    fragment = f"users{request.query.select_fragment()}/$entity"
    shown = _shown(request, user_json(row))
    return Answer(200, request.query.project({"@odata.context": request.context(fragment), **shown}))


def get_user(request: GraphRequest) -> Answer:
    """GET /users/{id or userPrincipalName}."""
    return _one(request, find_user(request))


def find_me(request: GraphRequest) -> Row:
    """Return the signed-in user.

    Raises:
        GraphError: an application asks, or the user was deleted.

    """
    if request.caller.user_id is None:
        raise errors.not_a_user()
    row = request.cloud.directory.user(request.caller.tenant_id, request.caller.user_id)
    if row is None:
        raise errors.directory_not_found(request.caller.user_id)
    return row


def get_me(request: GraphRequest) -> Answer:
    """GET /me."""
    return _one(request, find_me(request))


def _upn(request: GraphRequest, text: str) -> str:
    try:
        upn = check_upn(text)
    except ValueError as error:
        raise errors.directory_invalid("userPrincipalName", str(error)) from None
    domain = (request.cloud.directory.tenant(request.caller.tenant_id) or {})["domain"]
    if upn.rpartition("@")[2].lower() != domain.lower():
        raise errors.foreign_domain(f"expected a user of {domain}, got {quoted(upn)}")
    return upn


def _refuse_taken(request: GraphRequest, upn: str, own_id: str | None = None) -> None:
    known = request.cloud.directory.user(request.caller.tenant_id, upn)
    if known is not None and known["id"] != own_id:
        raise errors.directory_taken(
            "Another object with the same value for property userPrincipalName already exists."
        )


def create_user(request: GraphRequest) -> Answer:
    """POST /users: a user that can sign in with the given password, of which only a hash is kept."""
    cloud, body = request.cloud, read_json(request)
    refuse_read_only(body)
    check("user", "user", body, None)
    upn, password = _upn(request, body["userPrincipalName"]), body["passwordProfile"].get("password")
    if not password:
        raise errors.directory_missing("passwordProfile", "user")
    _refuse_taken(request, upn)
    row: dict[str, Any] = {
        "id": cloud.chance.guid(),
        "tenant_id": request.caller.tenant_id,
        "user_principal_name": upn,
        "display_name": body["displayName"],
        "mail": body.get("mail"),
        "directory_roles": (),
        "created": to_text(cloud.clock.now()),
        "properties": {name: body[name] for name in _KEPT if body.get(name) is not None},
    }
    cloud.directory.add_user(row, password)
    cloud.journal.record("graph", "user created", user=row["id"], upn=upn)
    stored = cloud.directory.user(request.caller.tenant_id, row["id"]) or {}
    answer = _one(request, stored)
    return Answer(201, answer.body, {"Location": f"{request.root}/users('{row['id']}')"})


def update_user(request: GraphRequest) -> Answer:
    """PATCH /users/{id}: what the body names; another name leaves imported records under the old one."""
    cloud, body, user = request.cloud, read_json(request), find_user(request)
    refuse_read_only(body)
    check("user", "user", body, None, partial=True)
    columns = {"displayName": "display_name", "mail": "mail"}
    changes: dict[str, Any] = {columns[name]: value for name, value in body.items() if name in columns}
    if "userPrincipalName" in body:
        changes["user_principal_name"] = _upn(request, body["userPrincipalName"])
        _refuse_taken(request, body["userPrincipalName"], user["id"])
    held = json.loads(user["properties"]) | {name: body[name] for name in _KEPT if name in body}
    changes["properties"] = {name: value for name, value in held.items() if value is not None}
    password = (body.get("passwordProfile") or {}).get("password")
    cloud.directory.change_user(user["id"], password, **changes)
    if password is not None or body.get("accountEnabled") is False:
        revoke_sessions_of(cloud, user["id"])
    if password is not None:
        renew_password(cloud, user["id"], user["tenant_id"])
    cloud.journal.record("graph", "user changed", user=user["id"], properties=sorted(n for n in body if "@" not in n))
    return Answer(204)


def delete_user(request: GraphRequest) -> Answer:
    """DELETE /users/{id}: imported records and devices keep the id; nothing targets them any more."""
    cloud, user = request.cloud, find_user(request)
    with cloud.store.atomic():
        cloud.directory.remove_user(user["id"])
        token_checks_of(cloud).revoke_user(user["id"], int(cloud.wall.now().timestamp()))
        cloud.journal.record("graph", "user deleted", user=user["id"], upn=user["user_principal_name"])
        profiles_changed(cloud, request.caller.tenant_id)
    return Answer(204)


def add_routes(router: Router) -> None:
    """Register users; what they are members of is in memberships."""
    router.add("GET", "me", Route(get_me, ME_READ))
    add_listing(router, "users", USER_READ, _users, "user")
    router.add("POST", "users", Route(create_user, USER_WRITE))
    router.add("GET", "users/{}", Route(get_user, USER_READ))
    router.add("PATCH", "users/{}", Route(update_user, USER_WRITE))
    router.add("DELETE", "users/{}", Route(delete_user, USER_WRITE))
