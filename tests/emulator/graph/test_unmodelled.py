"""Routes that Microsoft Graph has and the lab has not: empty lists, 501 for a gap, 400 for a typing error.

Which paths exist is told by sources.md#published-model; the answers are sources.md#routes-not-emulated.
"""

from pathlib import Path

import pytest

from pfxlab.emulator.config import Config, Switches
from pfxlab.emulator.graph.dispatch import build_router
from pfxlab.emulator.graph.errors import GraphError
from pfxlab.emulator.graph.odata.routes import MOST_SEGMENTS, NoSuchSegment, place_of
from pfxlab.emulator.graph.request import Incoming
from pfxlab.emulator.graph.router import CAST, split_path
from pfxlab.emulator.graph.unmodelled import answer
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import new_lab
from tests.emulator.graph.client import Raw, admin, setup

EMPTY = (
    "/beta/deviceManagement/deviceCompliancePolicies",
    "/v1.0/deviceManagement/deviceCompliancePolicies",
    "/beta/deviceManagement/configurationPolicies?$top=5&$filter=platforms%20eq%20'iOS'",
    "/beta/deviceManagement/deviceConfigurations/77777777-2222-4333-8444-555555555555/groupAssignments",
    "/v1.0/deviceAppManagement/mobileApps",
    "/beta/deviceAppManagement/mobileApps/graph.win32LobApp",
    "/v1.0/deviceManagement/reports/exportJobs",
    "/beta/deviceManagement/managedDevices('77777777-2222-4333-8444-555555555555')/detectedApps",
)
GAPS = (
    ("POST", "/beta/deviceManagement/deviceCompliancePolicies"),
    ("GET", "/beta/deviceManagement/deviceCompliancePolicies/77777777-2222-4333-8444-555555555555"),
    ("POST", "/v1.0/deviceManagement/managedDevices/77777777-2222-4333-8444-555555555555/microsoft.graph.rebootNow"),
    ("GET", "/beta/deviceManagement/managedDeviceOverview"),
    ("GET", "/v1.0/deviceManagement"),
    ("GET", "/v1.0/users/77777777-2222-4333-8444-555555555555/messages"),
    ("GET", "/v1.0/users/77777777-2222-4333-8444-555555555555/messages/any/attachments"),
    ("GET", "/v1.0/users/delta()"),
    ("GET", "/beta/security/alerts"),
    ("GET", "/v1.0/subscribedSkus"),
)
TYPOS = (
    ("/beta/deviceManagement/deviceCompliancePolicy", "deviceCompliancePolicy"),
    ("/beta/deviceManagement/userPfxCertificate", "userPfxCertificate"),
    ("/v1.0/deviceManagement/userPfxCertificates", "userPfxCertificates"),
    ("/v1.0/deviceManagement/ndesConnectors", "ndesConnectors"),
    ("/v1.0/deviceManagement/configurationPolicies", "configurationPolicies"),
    ("/beta/deviceManagement/managedDevices/77777777-2222-4333-8444-555555555555/cheese", "cheese"),
    ("/v1.0/users/77777777-2222-4333-8444-555555555555/mesages", "mesages"),
    ("/beta/deviceAppManagement/mobileApps/microsoft.graph.cheese", "microsoft.graph.cheese"),
    ("/beta/deviceAppManagement/mobileApps/microsoft.graph.user", "microsoft.graph.user"),
    ("/v1.0/cheese/deviceManagement", "cheese"),
)


@pytest.mark.parametrize("path", EMPTY)
async def test_lists_of_intune_are_empty(lab: Lab, path: str) -> None:
    """A list of Intune that the lab has no notion of is 200 and empty, as in a tenant with none of these."""
    reply = await (await admin(lab))("GET", path)
    assert (reply.status, reply.json["value"]) == (200, [])
    version, rest = path.partition("?")[0][1:].split("/", 1)
    context = rest.replace("/77777777-2222-4333-8444-555555555555", "('77777777-2222-4333-8444-555555555555')")
    expected = context.replace("graph.win32", "microsoft.graph.win32")
    assert reply.json["@odata.context"] == f"{lab.emulator.origin}/{version}/$metadata#{expected}"
    entry = [one for one in lab.cloud.journal.entries() if one.event == "request"][-1]
    assert "RouteNotEmulated: " in entry.fields["notes"][0]


async def test_empty_lists_can_be_counted(lab: Lab) -> None:
    """$count=true tells 0, and so does the segment $count."""
    graph = await admin(lab)
    reply = await graph("GET", "/beta/deviceManagement/configurationPolicies?$count=true")
    assert reply.json["@odata.count"] == 0
    reply = await graph("GET", "/beta/deviceManagement/configurationPolicies/$count")
    assert (reply.status, reply.text) == (200, "0")


@pytest.mark.parametrize(("method", "path"), GAPS)
async def test_gaps_of_the_lab_are_501(lab: Lab, method: str, path: str) -> None:
    """A route that Graph has and the lab has not is 501 with a reason header and its own rule, explaining lab or not."""
    reply = await (await admin(lab))(method, path, {} if method == "POST" else None)
    assert (reply.status, reply.code) == (501, "NotImplemented")
    assert reply.headers["x-pfxlab-reason"].startswith("RouteNotEmulated: Microsoft Graph has this route")
    entry = [one for one in lab.cloud.journal.entries() if one.event == "request"][-1]
    assert (entry.outcome, entry.fields["rule"]) == ("refused", "RouteNotEmulated")


@pytest.mark.parametrize(("path", "segment"), TYPOS)
async def test_typing_errors_are_graphs_400(lab: Lab, path: str, segment: str) -> None:
    """A path that Microsoft's model of the version lacks is Graph's own 400, which names the segment."""
    reply = await (await admin(lab))("GET", path)
    assert (reply.status, reply.message) == (400, f"Resource not found for the segment '{segment}'.")
    assert "x-pfxlab-reason" not in reply.headers


def test_a_list_that_only_the_other_version_serves_is_a_gap() -> None:
    """A list that the lab keeps, but not in this version, is 501 and not an empty list."""
    asked = Incoming("GET", "https://graph", "v1.0", "deviceManagement/deviceCompliancePolicies")
    segments = split_path(asked.path)
    assert answer(asked, segments, empty_lists=True, elsewhere=False).status == 200
    with pytest.raises(GraphError) as refused:
        answer(asked, segments, empty_lists=True, elsewhere=True)
    assert (refused.value.status, refused.value.rule) == (501, "RouteNotEmulated")


async def test_a_valid_token_is_enough(lab: Lab) -> None:
    """Without a token such a route is 401; any permission will do, as the lab knows none for it."""
    path = "/beta/deviceManagement/deviceCompliancePolicies"
    assert (await Raw(lab, None)("GET", path)).status == 401
    assert (await (await setup(lab))("GET", path)).status == 200


async def test_empty_lists_can_be_refused(tmp_path: Path) -> None:
    """With unmodelled_lists set to refuse, lists that the lab has no notion of are 501 too."""
    async with new_lab(tmp_path, Config(switches=Switches(unmodelled_lists="refuse"))) as lab:
        reply = await (await admin(lab))("GET", EMPTY[0])
        assert (reply.status, reply.code) == (501, "NotImplemented")


def test_every_route_of_the_lab_is_in_the_model_of_its_versions() -> None:
    """No route of the lab exists in a version whose published model lacks it."""
    wrong = []
    for method, template, route in build_router().table:
        for version in route.versions:
            before, cast, after = template.replace("{}", "key").partition(CAST)
            try:
                place = place_of(version, before.rstrip("/").split("/"))
                if cast:
                    place_of(version, f"{before}microsoft.graph.{place.kind}{after}".split("/"))
            except NoSuchSegment as missing:
                wrong.append(f"{method} {version}/{template}: {missing.segment}")
    assert wrong == []


def test_walks_are_bounded() -> None:
    """The model has circles: a path is followed so far, and no further, whatever its length."""
    circle = ["users", *(["key", "managedDevices", "key", "users"] * MOST_SEGMENTS)]
    with pytest.raises(NoSuchSegment):
        place_of("beta", circle)
    assert place_of("beta", circle[:31]).kind == "managedDevice"
    with pytest.raises(NoSuchSegment):
        place_of("beta", ["deviceManagement", "x" * 100_000])
