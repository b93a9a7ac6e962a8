"""Assignment filters over HTTP, and in assignments.

Expected values: sources.md#assignment-filters, sources.md#filter-limits, sources.md#filter-in-use,
sources.md#filter-refusals.
"""

from typing import Any

import pytest

from pfxlab.scenarios.lab.lab import Lab
from tests.emulator.graph.client import CONFIGURATIONS, Raw, Reply, admin
from tests.emulator.graph.intune.test_device_configurations import created

FILTERS = "/beta/deviceManagement/assignmentFilters"
IPHONES = '(device.model -startsWith "iPhone")'
NOBODY = "00000000-0000-4000-8000-0000000000ff"


def body(**changes: Any) -> dict[str, Any]:
    """Return a filter's body as tools send it."""
    return {"displayName": "phones", "platform": "iOS", "rule": IPHONES, **changes}


async def new_filter(graph: Raw, **changes: Any) -> str:
    """Return the id of a new filter."""
    reply = await graph("POST", FILTERS, body(**changes))
    assert reply.status == 201, reply.text
    return str(reply.json["id"])


def reason(lab: Lab, rule: str) -> str:
    """Return the reason of the latest refusal by a rule of the journal."""
    (entry, *_) = lab.cloud.journal.entries(outcome="refused", limit=1, newest=True)
    assert entry.fields["rule"] == rule
    return str(entry.reason)


async def test_life_of_a_filter(lab: Lab) -> None:
    """A filter is created with its defaults, read, listed, counted, changed and deleted."""
    graph = await admin(lab)
    made = await graph("POST", FILTERS, body(platform="ios", description="d", roleScopeTags=["0"]))
    assert made.status == 201
    shown = {n: v for n, v in made.json.items() if n not in ("id", "createdDateTime", "lastModifiedDateTime")}
    assert shown == {
        "@odata.context": shown["@odata.context"],
        "displayName": "phones",
        "description": "d",
        "platform": "iOS",
        "rule": IPHONES,
        "roleScopeTags": ["0"],
        "payloads": [],
        "assignmentFilterManagementType": "devices",
    }
    assert shown["@odata.context"].endswith("/beta/$metadata#deviceManagement/assignmentFilters/$entity")
    one = f"{FILTERS}/{made.json['id']}"
    changed = await graph("PATCH", one, {"rule": '(device.model -eq "iPad")'})
    assert (changed.status, changed.json["rule"]) == (200, '(device.model -eq "iPad")')
    listed = (await graph("GET", f"{FILTERS}?$filter=platform eq 'iOS'&$select=displayName".replace(" ", "%20"))).json
    assert [item["displayName"] for item in listed["value"]] == ["phones"]
    assert (await graph("GET", f"{FILTERS}/$count")).text == "1"
    assert (await graph("GET", one)).json["description"] == "d"
    assert (await graph("DELETE", one)).status == 204
    assert (await graph("GET", one)).status == 404
    assert (await graph("GET", FILTERS.replace("beta", "v1.0"))).status == 400


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"rule": "device.model is good"}, "FilterRuleInvalid"),
        ({"rule": f'(device.model -eq "{"x" * 3072}")'}, "FilterRuleInvalid"),
        ({"rule": '(app.appVersion -eq "1")'}, "FilterRuleInvalid"),
        ({"rule": ""}, "PropertyMissing"),
        ({"platform": "amiga"}, "ValueInvalid"),
        ({"assignmentFilterManagementType": "unknownFutureValue"}, "ValueInvalid"),
    ],
)
async def test_what_is_no_filter_is_refused(lab: Lab, wrong: dict[str, str], rule: str) -> None:
    """A filter without a rule that can be read, or with unknown values, is refused with 400 and kept by nobody."""
    graph = await admin(lab)
    assert (await graph("POST", FILTERS, body(**wrong))).status == 400
    assert reason(lab, rule)
    assert (await graph("GET", FILTERS)).json["value"] == []


async def test_tenant_has_at_most_200_filters(lab: Lab) -> None:
    """The 201st filter of a tenant is refused."""
    graph = await admin(lab)
    one = lab.cloud.filters.get(lab.operator.credentials.tenant_id, await new_filter(graph))
    assert one is not None
    for number in range(199):
        lab.cloud.filters.save(type(one)(**{**vars(one), "id": f"00000000-0000-4000-8000-{number:012}"}))
    assert (await graph("POST", FILTERS, body())).status == 400
    assert "200" in reason(lab, "TooManyFilters")


async def test_rules_are_validated(lab: Lab) -> None:
    """The action validateFilter says whether the rule of a filter is one, and creates nothing."""
    graph, answers = await admin(lab), []
    for rule in (IPHONES, "device.model is good"):
        asked = {"deviceAndAppManagementAssignmentFilter": body(rule=rule)}
        answers.append(await graph("POST", f"{FILTERS}/validateFilter", asked))
    assert [(one.status, one.json["isValidRule"]) for one in answers] == [(200, True), (200, False)]
    assert (await graph("GET", FILTERS)).json["value"] == []


async def assign(graph: Raw, profile: str, **target: Any) -> Reply:
    """Assign a profile to all devices, with more in the target."""
    target = {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget", **target}
    return await graph("POST", f"{CONFIGURATIONS}/{profile}/assign", {"assignments": [{"target": target}]})


async def test_assignment_keeps_its_filter(lab: Lab) -> None:
    """An assignment shows the filter it names, the filter shows the assignment and cannot be deleted meanwhile."""
    graph = await admin(lab)
    profile, used = (await created(graph))["id"], await new_filter(graph)
    sent = {
        "deviceAndAppManagementAssignmentFilterId": used,
        "deviceAndAppManagementAssignmentFilterType": "Exclude",
    }
    assert (await assign(graph, profile, **sent)).status == 200
    (kept,) = (await graph("GET", f"{CONFIGURATIONS}/{profile}/assignments")).json["value"]
    assert kept["target"] == {
        "@odata.type": "#microsoft.graph.allDevicesAssignmentTarget",
        "deviceAndAppManagementAssignmentFilterId": used,
        "deviceAndAppManagementAssignmentFilterType": "exclude",
    }
    (payload,) = (await graph("GET", f"{FILTERS}/{used}")).json["payloads"]
    assert (payload["payloadId"], payload["assignmentFilterType"]) == (profile, "exclude")
    assert (await graph("DELETE", f"{FILTERS}/{used}")).status == 400
    assert profile in reason(lab, "FilterInUse")
    assert (await assign(graph, profile)).status == 200
    assert (await graph("DELETE", f"{FILTERS}/{used}")).status == 204


async def test_intent_is_kept(lab: Lab) -> None:
    """An assignment keeps its intent, apply where none is sent."""
    graph = await admin(lab)
    profile = (await created(graph))["id"]
    everyone = {"target": {"@odata.type": "#microsoft.graph.allLicensedUsersAssignmentTarget"}, "intent": "Remove"}
    others = {"target": {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}}
    await graph("POST", f"{CONFIGURATIONS}/{profile}/assign", {"assignments": [everyone, others]})
    kept = (await graph("GET", f"{CONFIGURATIONS}/{profile}/assignments")).json["value"]
    assert [one["intent"] for one in kept] == ["remove", "apply"]


@pytest.mark.parametrize(
    ("filter_id", "mode", "rule"),
    [
        (NOBODY, "include", "FilterUnknown"),
        (NOBODY, "none", "AssignmentInvalid"),
        (None, "include", "AssignmentInvalid"),
        (NOBODY, "perhaps", "ValueInvalid"),
    ],
)
async def test_filters_that_an_assignment_cannot_have(lab: Lab, filter_id: str | None, mode: str, rule: str) -> None:
    """An assignment with an unknown filter, a filter without a mode or a mode without a filter is refused."""
    graph = await admin(lab)
    profile = (await created(graph))["id"]
    sent = {
        "deviceAndAppManagementAssignmentFilterId": filter_id,
        "deviceAndAppManagementAssignmentFilterType": mode,
    }
    assert (await assign(graph, profile, **sent)).status == 400
    assert reason(lab, rule)


@pytest.mark.parametrize("filter_id", [None, "", "00000000-0000-0000-0000-000000000000"])
async def test_no_filter_is_sent_in_three_ways(lab: Lab, filter_id: str | None) -> None:
    """Null, an empty text and the empty GUID stand for no filter."""
    graph = await admin(lab)
    profile = (await created(graph))["id"]
    sent = {"deviceAndAppManagementAssignmentFilterId": filter_id, "deviceAndAppManagementAssignmentFilterType": "none"}
    assert (await assign(graph, profile, **sent)).status == 200


async def test_filters_of_another_tenant_are_unknown(lab: Lab) -> None:
    """A filter of another tenant is not found, and no assignment can name it."""
    graph = await admin(lab)
    profile, used = (await created(graph))["id"], await new_filter(graph)
    one = lab.cloud.filters.get(lab.operator.credentials.tenant_id, used)
    assert one is not None
    lab.cloud.filters.save(type(one)(**{**vars(one), "tenant_id": NOBODY}))
    assert (await graph("GET", f"{FILTERS}/{used}")).status == 404
    sent = {"deviceAndAppManagementAssignmentFilterId": used, "deviceAndAppManagementAssignmentFilterType": "include"}
    assert (await assign(graph, profile, **sent)).status == 400
    assert reason(lab, "FilterUnknown")
