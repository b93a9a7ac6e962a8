"""/deviceManagement/deviceConfigurations: imported-PFX profiles.

Sources: sources.md#imported-pfx-profiles, sources.md#profile-operations.
"""

from typing import Any

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.bodies import check, read_json
from pfxlab.emulator.graph.collection import Collection
from pfxlab.emulator.graph.enumerations import canonical
from pfxlab.emulator.graph.etags import check_precondition, with_etag
from pfxlab.emulator.graph.intune.assignment_json import assignment_json
from pfxlab.emulator.graph.odata.model import ENUM_TYPES, properties_of
from pfxlab.emulator.graph.permissions import CONFIGURATION_READ, CONFIGURATION_WRITE
from pfxlab.emulator.graph.request import Answer, GraphRequest, Json
from pfxlab.emulator.graph.router import Route, Router
from pfxlab.emulator.intune.deliveries import profiles_changed
from pfxlab.emulator.store.database import Row
from pfxlab.emulator.store.device_configurations import DeviceConfiguration, from_row
from pfxlab.emulator.store.lists.conditions import Matches, Not, Part
from pfxlab.emulator.store.lists.views import PROFILES as VIEW
from pfxlab.emulator.wire.edm import format_date_time
from pfxlab.emulator.wire.platforms import PLATFORM_OF_TYPE, PLATFORMS, Platform
from pfxlab.emulator.wire.text import quoted

FRAGMENT = "deviceManagement/deviceConfigurations"
_TYPE_PREFIX = "#microsoft.graph."
_FIELDS = {
    "id": VIEW["id"],
    "displayName": VIEW["display_name"],
    "version": VIEW["version"],
    "createdDateTime": VIEW["created"],
    "lastModifiedDateTime": VIEW["last_modified"],
    "description": VIEW["description"],
    "intendedPurpose": VIEW["intended_purpose"],
    "roleScopeTagIds": VIEW["scope_tags"],
    "@odata.type": VIEW["odata_type"],
}
_SERVER_SET = frozenset({"id", "createdDateTime", "lastModifiedDateTime", "version", "supportsScopeTags"})


def to_json(profile: DeviceConfiguration) -> Json:
    """Return the public entity: base properties first, those of its type after them."""
    properties = dict(profile.properties)
    purpose = properties.pop("intendedPurpose", None)
    head = {
        "@odata.type": profile.odata_type,
        "id": profile.id,
        "lastModifiedDateTime": format_date_time(profile.last_modified),
        "roleScopeTagIds": properties.pop("roleScopeTagIds", ["0"]),
        "supportsScopeTags": True,
        "deviceManagementApplicabilityRuleOsEdition": properties.pop(
            "deviceManagementApplicabilityRuleOsEdition", None
        ),
        "deviceManagementApplicabilityRuleOsVersion": properties.pop(
            "deviceManagementApplicabilityRuleOsVersion", None
        ),
        "deviceManagementApplicabilityRuleDeviceMode": properties.pop(
            "deviceManagementApplicabilityRuleDeviceMode", None
        ),
        "createdDateTime": format_date_time(profile.created),
        "description": properties.pop("description", None),
        "displayName": profile.display_name,
        "version": profile.version,
    }
    return {**head, **properties, "intendedPurpose": purpose}


def _row_to_json(row: Row) -> Json:
    return to_json(from_row(row))


_COLLECTION = Collection(FRAGMENT, VIEW, _FIELDS, "deviceConfiguration", _row_to_json)


def _entity(request: GraphRequest, profile: DeviceConfiguration) -> Json:
    entity = {"@odata.context": request.context(f"{FRAGMENT}/$entity"), **to_json(profile)}
    return with_etag(request, entity, profile.last_modified)


def _type_of(body: dict[str, Any]) -> str:
    """Return the @odata.type of a body in the spelling of the schema."""
    given = body.get("@odata.type")
    if given is None:
        raise errors.abstract_class()
    known = {name.casefold(): name for name in PLATFORM_OF_TYPE}
    spelled = str(given) if str(given).startswith("#") else f"#{given}"
    if spelled.casefold() not in known:
        raise errors.unknown_type(str(given).removeprefix("#"))
    return known[spelled.casefold()]


def _properties(name: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the properties that a profile of a type keeps, its enumerations in the model's case."""
    kept = {n: v for n, v in body.items() if "@" not in n and n not in _SERVER_SET and n != "displayName"}
    kinds = properties_of(name)
    return {n: canonical(kinds[n], v) if kinds.get(n) in ENUM_TYPES and v is not None else v for n, v in kept.items()}


def _with_any_purpose(request: GraphRequest, row: Platform, properties: dict[str, Any]) -> dict[str, Any]:
    """Append the extended key usage that the service adds to two Android types: sources.md#any-purpose-eku."""
    usages = properties.get("extendedKeyUsages")
    if usages is None or not row.adds_any_purpose or request.cloud.config.switches.any_purpose_eku == "off":
        return properties
    extra = {"name": "Any Purpose", "objectIdentifier": "2.5.29.37.0"}
    return {**properties, "extendedKeyUsages": [*usages, extra]}


def find_profile(request: GraphRequest) -> DeviceConfiguration:
    """Return the profile a request is about.

    Raises:
        GraphError: there is none of that id in the caller's tenant.

    """
    profile = request.cloud.profiles.get(request.caller.tenant_id, request.keys[0])
    if profile is None:
        reason = f"no configuration profile has the id {quoted(request.keys[0])}"
        raise errors.intune_not_found(errors.CONFIGURATION_SERVICE, reason)
    return profile


def _expanded(request: GraphRequest, body: Json) -> Json:
    """Return an entity with its assignments when $expand asks for them.

    Raises:
        GraphError: another navigation is asked for.

    """
    expand = request.query.text("expand")
    if expand is None:
        return body
    if expand.strip().lower() != "assignments":
        raise errors.expand_unsupported(expand)
    of = f"{FRAGMENT}('{body['id']}')/assignments"
    items = [assignment_json(assignment) for assignment in request.cloud.profiles.assignments(body["id"])]
    return {**body, "assignments@odata.context": request.context(of), "assignments": items}


def list_all(request: GraphRequest) -> Answer:
    """GET the collection."""
    size = request.cloud.config.switches.page_size
    beta = request.root.endswith("/beta")
    # Imported-PFX types exist in beta only; v1.0 leaves them out.
    within = None if beta else Not(Matches(VIEW["odata_type"], Part.ANYWHERE, "ImportedPFX"))
    return _COLLECTION.page(request, size, within=within, expand=lambda item: _expanded(request, item))


def count(request: GraphRequest) -> Answer:
    """GET /$count: digits as plain text."""
    return Answer(200, str(_COLLECTION.count(request)))


def get(request: GraphRequest) -> Answer:
    """GET one profile."""
    expand = "(assignments())" if request.query.text("expand") else ""
    entity = _entity(request, find_profile(request))
    entity["@odata.context"] = request.context(f"{FRAGMENT}{expand}/$entity")
    return Answer(200, request.query.project(_expanded(request, entity), "assignments"))


def create(request: GraphRequest) -> Answer:
    """POST: a new profile of the type its @odata.type names."""
    cloud, body = request.cloud, read_json(request)
    odata_type = _type_of(body)
    name, row = odata_type.removeprefix(_TYPE_PREFIX), PLATFORMS[PLATFORM_OF_TYPE[odata_type]]
    check(name, name, body, errors.CONFIGURATION_SERVICE)
    now = cloud.clock.now()
    profile = DeviceConfiguration(
        id=cloud.chance.guid(),
        tenant_id=request.caller.tenant_id,
        odata_type=odata_type,
        display_name=body["displayName"] or "",
        version=1,
        created=now,
        last_modified=now,
        properties=_with_any_purpose(request, row, {**row.profile_defaults, **_properties(name, body)}),
    )
    with cloud.store.atomic():
        cloud.profiles.save(profile)
        purpose = profile.properties.get("intendedPurpose")
        cloud.journal.record("graph", "profile created", profile=profile.id, type=name, purpose=purpose)
    location = f"{request.root}/{FRAGMENT}('{profile.id}')"
    return Answer(201, _entity(request, profile), {"Location": location})


def update(request: GraphRequest) -> Answer:
    """PATCH: change what the body names; the body must name its type."""
    cloud, body, profile = request.cloud, read_json(request), find_profile(request)
    check_precondition(request, profile.last_modified)
    odata_type = _type_of(body)
    if odata_type != profile.odata_type:
        reason = f"expected {profile.odata_type}, got {odata_type}"
        raise errors.intune_bad_request(errors.CONFIGURATION_SERVICE, reason, "TypeUnknown")
    name, row = odata_type.removeprefix(_TYPE_PREFIX), PLATFORMS[PLATFORM_OF_TYPE[odata_type]]
    check(name, name, body, errors.CONFIGURATION_SERVICE, partial=True)
    changed = DeviceConfiguration(
        **{
            **vars(profile),
            "display_name": body.get("displayName") or profile.display_name,
            "version": profile.version + 1,
            "last_modified": cloud.clock.now(),
            "properties": {**profile.properties, **_with_any_purpose(request, row, _properties(name, body))},
        }
    )
    with cloud.store.atomic():
        cloud.profiles.save(changed)
        cloud.journal.record("graph", "profile updated", profile=profile.id, properties=sorted(_properties(name, body)))
        profiles_changed(cloud, profile.tenant_id)
    if cloud.config.switches.code_profile == "documented":
        return Answer(200, _entity(request, changed))
    return Answer(204)


def delete(request: GraphRequest) -> Answer:
    """DELETE: 200 with an empty body, as observed."""
    cloud, profile = request.cloud, find_profile(request)
    check_precondition(request, profile.last_modified)
    with cloud.store.atomic():
        cloud.profiles.delete(profile.tenant_id, profile.id)
        cloud.journal.record("graph", "profile deleted", profile=profile.id)
        profiles_changed(cloud, profile.tenant_id)
    return Answer(204 if cloud.config.switches.code_profile == "documented" else 200)


def put(request: GraphRequest) -> Answer:
    """PUT is refused with 400."""
    raise errors.put_refused(errors.CONFIGURATION_SERVICE)


def add_routes(router: Router) -> None:
    """Register the resource; imported-PFX types exist in beta only."""
    beta = ("beta",)
    one = f"{FRAGMENT}/{{}}"
    router.add("GET", FRAGMENT, Route(list_all, CONFIGURATION_READ))
    router.add("POST", FRAGMENT, Route(create, CONFIGURATION_WRITE, beta))
    router.add("GET", f"{FRAGMENT}/$count", Route(count, CONFIGURATION_READ, beta))
    router.add("GET", one, Route(get, CONFIGURATION_READ, beta))
    router.add("PATCH", one, Route(update, CONFIGURATION_WRITE, beta))
    router.add("PUT", one, Route(put, CONFIGURATION_WRITE, beta))
    router.add("DELETE", one, Route(delete, CONFIGURATION_WRITE, beta))
