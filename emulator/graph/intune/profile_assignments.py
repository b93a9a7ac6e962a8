"""Assignments of a profile: whom it is for, which filter narrows that, and what the assignment intends.

Sources: sources.md#assign-body, sources.md#assignments, sources.md#assignment-filters.
"""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.bodies import check, read_json
from pfxlab.emulator.graph.collection import computed
from pfxlab.emulator.graph.enumerations import canonical
from pfxlab.emulator.graph.intune.assignment_json import COLLECTION_TARGET, GROUP_TARGETS, assignment_json
from pfxlab.emulator.graph.intune.device_configurations import FRAGMENT, find_profile
from pfxlab.emulator.graph.odata.types import short_name
from pfxlab.emulator.graph.permissions import CONFIGURATION_READ, CONFIGURATION_WRITE
from pfxlab.emulator.graph.request import Answer, GraphRequest
from pfxlab.emulator.graph.router import Route, Router
from pfxlab.emulator.intune.deliveries import profiles_changed
from pfxlab.emulator.store.device_configurations import Assignment, AssignmentFilter, DeviceConfiguration
from pfxlab.emulator.wire.ids import ALL_DEVICES_GROUP, ALL_USERS_GROUP, assignment_id
from pfxlab.emulator.wire.text import quoted

_PSEUDO_GROUPS: Final = {
    "allLicensedUsersAssignmentTarget": ALL_USERS_GROUP,
    "allDevicesAssignmentTarget": ALL_DEVICES_GROUP,
}
_NO_FILTER: Final = "00000000-0000-0000-0000-000000000000"
"""What tools send for an assignment without a filter, beside null and an empty text."""


def _assignments(
    body: dict[str, Any], profile: DeviceConfiguration, filters: Mapping[str, AssignmentFilter]
) -> list[Assignment]:
    """Return the assignments of an assign body, in its present or its legacy form.

    Raises:
        GraphError: an unknown target or filter, a group id that is none, or a group named twice.

    """
    wanted = [_assignment(profile, entry, filters) for entry in body.get("assignments") or ()]
    for entry in body.get("deviceConfigurationGroupAssignments") or ():
        kind = GROUP_TARGETS[1] if entry.get("excludeGroup") else GROUP_TARGETS[0]
        group = _group_id(entry["targetGroupId"])
        wanted.append(Assignment(assignment_id(profile.id, group), profile.id, kind, group))
    groups = [one.group_id for one in wanted]
    twice = {group for group in groups if groups.count(group) > 1}
    if twice:
        raise _bad_assignment(f"expected each group once, got {', '.join(sorted(twice))} more than once")
    return wanted


def _assignment(
    profile: DeviceConfiguration, entry: dict[str, Any], filters: Mapping[str, AssignmentFilter]
) -> Assignment:
    target = entry["target"]
    kind, group = _target(target)
    intent = canonical("deviceConfigAssignmentIntent", entry.get("intent") or "apply")
    filter_id, mode = _filter(target, filters)
    return Assignment(assignment_id(profile.id, group), profile.id, kind, group, intent, filter_id, mode)


def _filter(target: dict[str, Any], filters: Mapping[str, AssignmentFilter]) -> tuple[str | None, str]:
    """Return id and mode of the filter that a target names, None and `none` if it names none.

    Raises:
        GraphError: an id without a mode, a mode without an id, or a filter that the tenant does not have.

    """
    given = target.get("deviceAndAppManagementAssignmentFilterId") or _NO_FILTER
    mode = target.get("deviceAndAppManagementAssignmentFilterType") or "none"
    mode = canonical("deviceAndAppManagementAssignmentFilterType", mode)
    if given == _NO_FILTER or mode == "none":
        if given == _NO_FILTER and mode == "none":
            return None, mode
        raise _bad_assignment(f"expected a filter's id with include or exclude, got {quoted(given)} with {mode}")
    one = filters.get(str(given).lower())
    if one is None:
        raise _refuse("FilterUnknown", f"no assignment filter has the id {quoted(given)}")
    if one.management_type != "devices":
        raise _refuse("FilterUnknown", f"expected a filter of devices, {quoted(one.display_name)} is one of apps")
    return one.id, mode


def _refuse(rule: str, reason: str) -> errors.GraphError:
    return errors.intune_bad_request(errors.CONFIGURATION_SERVICE, reason, rule)


def _bad_assignment(reason: str) -> errors.GraphError:
    return _refuse("AssignmentInvalid", reason)


def _group_id(text: Any) -> str:
    try:
        return str(UUID(str(text)))
    except ValueError:
        raise _bad_assignment(f"expected a group's id, got {quoted(text)}") from None


def _target(target: dict[str, Any]) -> tuple[str, str]:
    kind = short_name(target["@odata.type"])
    if kind in _PSEUDO_GROUPS:
        return kind, _PSEUDO_GROUPS[kind]
    if kind in GROUP_TARGETS:
        return kind, _group_id(target.get("groupId"))
    if kind == COLLECTION_TARGET and target.get("collectionId"):
        return kind, str(target["collectionId"])
    raise _bad_assignment(f"expected a group, all users or all devices as target, got {quoted(kind)}")


def assign(request: GraphRequest) -> Answer:
    """POST /assign: replaces the whole set of assignments; an empty list clears it."""
    cloud, body, profile = request.cloud, read_json(request), find_profile(request)
    check("assign", "assign", body, errors.CONFIGURATION_SERVICE)
    wanted = _assignments(body, profile, cloud.filters.by_id(profile.tenant_id))
    with cloud.store.atomic():
        cloud.profiles.assign(profile.id, wanted)
        targets = [f"{a.target_type}:{a.group_id}" for a in wanted]
        cloud.journal.record("graph", "profile assigned", profile=profile.id, targets=targets)
        profiles_changed(cloud, profile.tenant_id)
    if cloud.config.switches.code_profile == "documented":
        return Answer(200, {"value": [assignment_json(a) for a in wanted]})
    return Answer(200)


def assignments(request: GraphRequest) -> Answer:
    """GET /assignments."""
    profile = find_profile(request)
    items = [assignment_json(a) for a in request.cloud.profiles.assignments(profile.id)]
    fragment = f"{FRAGMENT}('{profile.id}')/assignments"
    return computed(request, fragment, items, "deviceConfigurationAssignment", request.cloud.config.switches.page_size)


def add_routes(router: Router) -> None:
    """Register the resource; imported-PFX types exist in beta only."""
    beta, one = ("beta",), f"{FRAGMENT}/{{}}"
    router.add("POST", f"{one}/assign", Route(assign, CONFIGURATION_WRITE, beta))
    router.add("GET", f"{one}/assignments", Route(assignments, CONFIGURATION_READ, beta))
