"""Assignments of profiles as Graph shows them: sources.md#assignments, sources.md#assignment-filters."""

from typing import Final

from pfxlab.emulator.graph.request import Json
from pfxlab.emulator.store.device_configurations import Assignment

_TYPE_PREFIX: Final = "#microsoft.graph."
GROUP_TARGETS: Final = ("groupAssignmentTarget", "exclusionGroupAssignmentTarget")
COLLECTION_TARGET: Final = "configurationManagerCollectionAssignmentTarget"


def assignment_json(assignment: Assignment) -> Json:
    """Return the public entity of an assignment."""
    target: Json = {
        "@odata.type": f"{_TYPE_PREFIX}{assignment.target_type}",
        "deviceAndAppManagementAssignmentFilterId": assignment.filter_id,
        "deviceAndAppManagementAssignmentFilterType": assignment.filter_mode,
    }
    if assignment.target_type in GROUP_TARGETS:
        target["groupId"] = assignment.group_id
    if assignment.target_type == COLLECTION_TARGET:
        target["collectionId"] = assignment.group_id
    return {
        "id": assignment.id,
        "source": "direct",
        "sourceId": assignment.configuration_id,
        "intent": assignment.intent,
        "target": target,
    }
