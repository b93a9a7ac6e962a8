"""The properties of users beyond the first ones: what they hold, and who may set them.

They stand in the JSON object of a user's column `properties`. Sources: sources.md#user-properties,
sources.md#read-only-properties.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, cast

import jsonschema_rs

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.entra.principals.users import is_licensed
from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.request import Json
from pfxlab.emulator.store.database import Row
from pfxlab.emulator.store.lists.user_properties import EXTENSION_NAMES, EXTENSIONS, INTUNE_PLAN, LISTS, OBJECTS, TEXTS
from pfxlab.emulator.wire.schemas import validator

_SYNCED: Final = ("onPremisesSyncEnabled", "onPremisesLastSyncDateTime")
USER_PROPERTIES: Final = (*TEXTS, *LISTS, *OBJECTS, *_SYNCED, EXTENSIONS)
"""Every property of this table."""

READ_ONLY: Final = frozenset(
    name
    for name in USER_PROPERTIES
    if name in ("assignedLicenses", "imAddresses", "proxyAddresses")
    or (name.startswith("onPremises") and name not in ("onPremisesImmutableId", EXTENSIONS))
)
"""Properties that Exchange, a licence or a directory on premises sets, and nobody over Graph."""


def more_properties(row: Row, held: dict[str, Any]) -> Json:
    """Return what a user shows of this table; `held` is what its row holds as JSON."""
    upn, mail = str(row["user_principal_name"]), row["mail"]
    licences = [{"disabledPlans": [], "skuId": INTUNE_PLAN}] if is_licensed(row) else []
    named = {"signInType": "userPrincipalName", "issuer": upn.rpartition("@")[2], "issuerAssignedId": upn}
    found: Json = dict.fromkeys((*TEXTS, *_SYNCED))
    found |= {
        "imAddresses": [],
        "otherMails": [],
        "proxyAddresses": [] if mail is None else [f"SMTP:{mail}"],
        "assignedLicenses": licences,
        "identities": [named],
    }
    extensions = dict.fromkeys(EXTENSION_NAMES) | held.get(EXTENSIONS, {})
    return {**found, **{name: held[name] for name in USER_PROPERTIES if name in held}, EXTENSIONS: extensions}


def refuse_read_only(body: dict[str, Any]) -> None:
    """Refuse a body that sets what nobody sets over Graph.

    Raises:
        GraphError: it names such a property.

    """
    for name in body:
        if name in READ_ONLY:
            raise errors.read_only(name)


def set_properties(cloud: Cloud, user: Row, given: Mapping[str, Any]) -> None:
    """Set properties of a user, those too that nobody sets over Graph; None takes one away.

    Raises:
        ValueError: a name or value that users do not have.

    """
    problem = problem_of(given)
    if problem is not None:
        raise ValueError(f"properties of {user['user_principal_name']}: {problem}")
    held = json.loads(user["properties"]) | dict(given)
    cloud.directory.change_user(user["id"], properties={n: v for n, v in held.items() if v is not None})


def problem_of(given: Mapping[str, Any]) -> str | None:
    """Return what is wrong with properties of a user, or None."""
    try:
        _schema().validate(dict(given))
    except jsonschema_rs.ValidationError as error:
        where = "/".join(str(part) for part in error.instance_path)
        unknown = ", ".join(sorted(set(given) - set(_schema_of_file()["properties"])))
        return f"expected names of docs/configuration.md, got {unknown}" if unknown else f"{where}: {error.message}"
    return None


def _schema_of_file() -> dict[str, Any]:
    tenants = cast(Any, validator("lab-config").schema)["properties"]["tenants"]
    found: dict[str, Any] = tenants["items"]["properties"]["users"]["items"]["properties"]["properties"]
    return found


@cache
def _schema() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(_schema_of_file())
