"""Directory objects of any type: collections of them, and how one, whatever it is, shows itself."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.bodies import read_json
from pfxlab.emulator.graph.collection import Collection, ComputedListing, Listing, StoredListing
from pfxlab.emulator.graph.directory.devices import DEVICE_OBJECTS, device_object_json
from pfxlab.emulator.graph.directory.groups import GROUP_FIELDS, GROUPS, group_json
from pfxlab.emulator.graph.directory.users import USER_FIELDS, USERS, user_json
from pfxlab.emulator.graph.directory.visibility import visible
from pfxlab.emulator.graph.request import GraphRequest, Json
from pfxlab.emulator.store.database import Row
from pfxlab.emulator.store.lists.conditions import Condition
from pfxlab.emulator.store.lists.views import DIRECTORY_OBJECTS as VIEW

_TYPE: Final = "@odata.type"
_PREFIX: Final = "#microsoft.graph."
_SHOWN: Final = {"user": user_json, "group": group_json, "device": device_object_json}
_FIELDS: Final = {**GROUP_FIELDS, **USER_FIELDS, _TYPE: VIEW["odata_type"]}


def typed(type_name: str, item: Json) -> Json:
    """Return an object that names its type, as in a collection of several types."""
    return {_TYPE: f"{_PREFIX}{type_name}", **item}


def _row_json(row: Row) -> Json:
    return typed(row["type"], _SHOWN[row["type"]](row))


def _visible(request: GraphRequest, item: Json) -> Json:
    return visible(request, str(item[_TYPE]).removeprefix(_PREFIX), item)


_OBJECTS: Final = StoredListing(
    "directoryObject",
    Collection(
        "directoryObjects", VIEW, _FIELDS, "directoryObject", _row_json, counts=False, searched=("displayName", "mail")
    ),
    _visible,
    casts={"user": USERS, "group": GROUPS, "device": DEVICE_OBJECTS},
)


def objects(within: Condition) -> Listing:
    """Return the users, groups and devices that a condition on their id lets pass."""
    return replace(_OBJECTS, within=within)


def computed_objects(request: GraphRequest, items: Sequence[Json]) -> Listing:
    """Return objects, each with its type, that are computed for one request."""
    return ComputedListing("directoryObjects", "directoryObject", [_visible(request, item) for item in items])


def object_json(request: GraphRequest, name: str) -> Json | None:
    """Return a user, group or device of the caller's tenant with its type, or None; a user also by its name."""
    tenant_id = request.caller.tenant_id
    user = request.cloud.directory.user(tenant_id, name)
    if user is not None:
        return typed("user", user_json(user))
    row = request.cloud.lists.row(VIEW, name.lower())
    return None if row is None or row["tenant_id"] != tenant_id else _row_json(row)


def referenced(request: GraphRequest) -> Json:
    """Return the object a `$ref` body names by its `@odata.id`.

    Raises:
        GraphError: there is no such object.

    """
    reference = read_json(request).get("@odata.id")
    name = reference.rstrip("/").rpartition("/")[2] if isinstance(reference, str) else ""
    if not name:
        raise errors.directory_invalid("@odata.id", "expected the address of a directory object")
    found = object_json(request, name)
    if found is None:
        raise errors.directory_not_found(name)
    return found
