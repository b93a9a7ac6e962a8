"""/deviceManagement/assignmentFilters: rules that narrow an assignment to some devices, or keep some from it.

Sources: sources.md#assignment-filters, sources.md#filter-limits, sources.md#filter-in-use, sources.md#filter-refusals.
"""

from dataclasses import replace
from typing import Any, Final

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.bodies import check, read_json
from pfxlab.emulator.graph.collection import computed
from pfxlab.emulator.graph.enumerations import canonical
from pfxlab.emulator.graph.etags import check_precondition, with_etag
from pfxlab.emulator.graph.odata.types import check_type
from pfxlab.emulator.graph.permissions import CONFIGURATION_READ, CONFIGURATION_WRITE
from pfxlab.emulator.graph.request import Answer, GraphRequest, Json
from pfxlab.emulator.graph.router import Route, Router
from pfxlab.emulator.intune.deliveries import profiles_changed
from pfxlab.emulator.intune.filter_rules import RuleInvalid, read_rule
from pfxlab.emulator.store.device_configurations import AssignmentFilter
from pfxlab.emulator.wire.edm import format_date_time
from pfxlab.emulator.wire.text import quoted

FRAGMENT: Final = "deviceManagement/assignmentFilters"
TYPE: Final = "deviceAndAppManagementAssignmentFilter"
_MOST: Final = 200
_ENTITY_OF: Final = {"devices": "device", "apps": "app"}
_APP_PLATFORMS: Final = frozenset(
    {
        "androidMobileApplicationManagement",
        "iOSMobileApplicationManagement",
        "windowsMobileApplicationManagement",
    }
)


def _payloads(request: GraphRequest, one: AssignmentFilter) -> list[Json]:
    return [
        {
            "payloadId": use.configuration_id,
            "payloadType": "unknown",
            "groupId": use.group_id,
            "assignmentFilterType": use.filter_mode,
        }
        for use in request.cloud.filters.uses(one.id)
    ]


def _to_json(request: GraphRequest, one: AssignmentFilter) -> Json:
    return {
        "id": one.id,
        "createdDateTime": format_date_time(one.created),
        "lastModifiedDateTime": format_date_time(one.last_modified),
        "displayName": one.display_name,
        "description": one.description,
        "platform": one.platform,
        "rule": one.rule,
        "roleScopeTags": list(one.role_scope_tags),
        "payloads": _payloads(request, one),
        "assignmentFilterManagementType": one.management_type,
    }


def _entity(request: GraphRequest, one: AssignmentFilter) -> Json:
    entity = {"@odata.context": request.context(f"{FRAGMENT}/$entity"), **_to_json(request, one)}
    return request.query.project(with_etag(request, entity, one.last_modified))


def _refuse(rule: str, reason: str) -> errors.GraphError:
    return errors.intune_bad_request(errors.CONFIGURATION_SERVICE, reason, rule)


def _find(request: GraphRequest) -> AssignmentFilter:
    one = request.cloud.filters.get(request.caller.tenant_id, request.keys[0])
    if one is None:
        reason = f"no assignment filter has the id {quoted(request.keys[0])}"
        raise errors.intune_not_found(errors.CONFIGURATION_SERVICE, reason)
    return one


def _checked_rule(one: AssignmentFilter) -> None:
    """Check that a filter's rule can be read, and is about what the filter manages.

    Raises:
        RuleInvalid: it cannot, or is not.

    """
    rule, entity = read_rule(one.rule), _ENTITY_OF[one.management_type]
    if rule.entity != entity:
        raise RuleInvalid(f"expected properties of {entity}, such as {entity}.osVersion, got those of {rule.entity}")


def _with(one: AssignmentFilter, body: dict[str, Any]) -> AssignmentFilter:
    """Return a filter with what a body says of it.

    Raises:
        GraphError: the rule is none.

    """
    platform = one.platform if body.get("platform") is None else canonical("devicePlatformType", body["platform"])
    given = body.get("assignmentFilterManagementType")
    management = one.management_type if given is None else canonical("assignmentFilterManagementType", given)
    if platform in _APP_PLATFORMS:
        management = "apps"
    if management not in _ENTITY_OF:
        raise _refuse("ValueInvalid", f"assignmentFilterManagementType: expected devices or apps, got {management}")
    tags = body.get("roleScopeTags")
    changed = replace(
        one,
        display_name=body.get("displayName") or one.display_name,
        description=body.get("description", one.description),
        platform=platform,
        rule=body.get("rule") or one.rule,
        management_type=management,
        role_scope_tags=one.role_scope_tags if tags is None else tuple(tags),
    )
    try:
        _checked_rule(changed)
    except RuleInvalid as error:
        raise _refuse("FilterRuleInvalid", f"rule: {error}") from None
    return changed


def list_all(request: GraphRequest) -> Answer:
    """GET the collection."""
    items = [_to_json(request, one) for one in request.cloud.filters.of_tenant(request.caller.tenant_id)]
    return computed(request, FRAGMENT, items, TYPE, request.cloud.config.switches.page_size)


def count(request: GraphRequest) -> Answer:
    """GET /$count: digits as plain text."""
    return Answer(200, str(len(request.cloud.filters.of_tenant(request.caller.tenant_id))))


def get(request: GraphRequest) -> Answer:
    """GET one filter."""
    return Answer(200, _entity(request, _find(request)))


def _from_body(request: GraphRequest, body: dict[str, Any]) -> AssignmentFilter:
    """Return the filter that a body describes.

    Raises:
        GraphError: something is missing, or is no value for it.

    """
    check_type(body, TYPE)
    check(TYPE, TYPE, body, errors.CONFIGURATION_SERVICE)
    empty = [name for name in ("displayName", "platform", "rule") if not body[name]]
    if empty:
        raise _refuse("PropertyMissing", f"expected {', '.join(empty)}, got empty values")
    now, tenant_id = request.cloud.clock.now(), request.caller.tenant_id
    blank = AssignmentFilter("", tenant_id, "", None, "unknown", "", "devices", ("0",), now, now)
    return _with(blank, body)


def create(request: GraphRequest) -> Answer:
    """POST: a new filter."""
    cloud, one = request.cloud, _from_body(request, read_json(request))
    if len(cloud.filters.of_tenant(one.tenant_id)) >= _MOST:
        raise _refuse("TooManyFilters", f"expected at most {_MOST} assignment filters in a tenant")
    one = replace(one, id=cloud.chance.guid())
    with cloud.store.atomic():
        cloud.filters.save(one)
        cloud.journal.record("graph", "assignment filter created", filter=one.id, name=one.display_name)
    return Answer(201, _entity(request, one), {"Location": f"{request.root}/{FRAGMENT}('{one.id}')"})


def update(request: GraphRequest) -> Answer:
    """PATCH: change what the body names; devices that match now, or no longer, are targeted anew."""
    cloud, body, one = request.cloud, read_json(request), _find(request)
    check_precondition(request, one.last_modified)
    check_type(body, TYPE)
    check(TYPE, TYPE, body, errors.CONFIGURATION_SERVICE, partial=True)
    changed = replace(_with(one, body), last_modified=cloud.clock.now())
    with cloud.store.atomic():
        cloud.filters.save(changed)
        cloud.journal.record("graph", "assignment filter updated", filter=one.id, rule=changed.rule)
        profiles_changed(cloud, one.tenant_id)
    return Answer(200, _entity(request, changed))


def delete(request: GraphRequest) -> Answer:
    """DELETE: refused while an assignment uses the filter."""
    cloud, one = request.cloud, _find(request)
    check_precondition(request, one.last_modified)
    uses = cloud.filters.uses(one.id)
    if uses:
        profiles = ", ".join(sorted({use.configuration_id for use in uses}))
        reason = f"the filter is used by assignments of {profiles}: remove it from them first"
        raise _refuse("FilterInUse", reason)
    with cloud.store.atomic():
        cloud.filters.delete(one.id)
        cloud.journal.record("graph", "assignment filter deleted", filter=one.id)
    return Answer(204)


def validate(request: GraphRequest) -> Answer:
    """POST /validateFilter {"deviceAndAppManagementAssignmentFilter": {…}}: whether its rule is one."""
    body = read_json(request)
    check("validateFilter", "validateFilter", body, errors.CONFIGURATION_SERVICE)
    shown = {"isValidRule": True}
    notes: tuple[str, ...] = ()
    try:
        _from_body(request, body["deviceAndAppManagementAssignmentFilter"])
    except errors.GraphError as error:
        if error.rule != "FilterRuleInvalid":
            raise
        shown, notes = {"isValidRule": False}, (f"{error.rule}: {error.reason}",)
    context = request.context("microsoft.graph.assignmentFilterValidationResult")
    return Answer(200, {"@odata.context": context, **shown}, notes=notes)


def put(request: GraphRequest) -> Answer:
    """PUT is refused with 400."""
    raise errors.put_refused(errors.CONFIGURATION_SERVICE)


def add_routes(router: Router) -> None:
    """Register the resource; it exists in beta only."""
    beta, one = ("beta",), f"{FRAGMENT}/{{}}"
    router.add("GET", FRAGMENT, Route(list_all, CONFIGURATION_READ, beta))
    router.add("POST", FRAGMENT, Route(create, CONFIGURATION_WRITE, beta))
    router.add("GET", f"{FRAGMENT}/$count", Route(count, CONFIGURATION_READ, beta))
    router.add("POST", f"{FRAGMENT}/validateFilter", Route(validate, CONFIGURATION_READ, beta))
    router.add("GET", one, Route(get, CONFIGURATION_READ, beta))
    router.add("PATCH", one, Route(update, CONFIGURATION_WRITE, beta))
    router.add("PUT", one, Route(put, CONFIGURATION_WRITE, beta))
    router.add("DELETE", one, Route(delete, CONFIGURATION_WRITE, beta))
