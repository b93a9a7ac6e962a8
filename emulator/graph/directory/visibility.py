"""What a caller sees of a directory object: all of it, its basic properties, or no more than its id and type.

Sources: sources.md#limited-information, sources.md#basic-profile.
"""

from typing import Final

from pfxlab.emulator.graph.permissions import (
    APPLICATION_READ,
    DEVICE_OBJECT_READ,
    GROUP_READ,
    ROLE_READ,
    USER_PROFILE_READ,
    Permissions,
)
from pfxlab.emulator.graph.request import GraphRequest, Json

_READ: Final[dict[str, Permissions]] = {
    "user": USER_PROFILE_READ,
    "group": GROUP_READ,
    "device": DEVICE_OBJECT_READ,
    "directoryRole": ROLE_READ,
    "application": APPLICATION_READ,
    "servicePrincipal": APPLICATION_READ,
}
_BASIC: Final = frozenset({"id", "displayName", "givenName", "surname", "mail", "userPrincipalName"})
_IDENTITY: Final = frozenset({"id"})
_PLAIN_PROPERTIES: Final = 11


def visible(request: GraphRequest, type_name: str, item: Json) -> Json:
    """Return a directory object of a type as the request's caller sees it."""
    if type_name == "user" and not shows_all(request):
        item = _plain(item)
    caller = request.caller
    if not caller.scopes.isdisjoint(_READ[type_name].scopes):
        return item
    if type_name == "user" and item["id"] == caller.user_id and "User.Read" in caller.scopes:
        return item
    if type_name == "user" and "User.ReadBasic.All" in caller.scopes:
        return {name: value if name in _BASIC or "@" in name else _nothing(value) for name, value in item.items()}
    return {name: value if name in _IDENTITY or "@" in name else None for name, value in item.items()}


def shows_all(request: GraphRequest) -> bool:
    """Return whether a user shows more than the eleven properties that v1.0 shows without $select."""
    return request.root.endswith("/beta") or bool(request.query.text("select"))


def _plain(user: Json) -> Json:
    annotations = {name: value for name, value in user.items() if "@" in name}
    properties = [(name, value) for name, value in user.items() if "@" not in name]
    return {**annotations, **dict(properties[:_PLAIN_PROPERTIES])}


def _nothing(value: object) -> list[object] | None:
    return [] if isinstance(value, list) else None
