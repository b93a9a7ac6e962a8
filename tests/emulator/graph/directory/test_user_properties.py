"""Properties of users that tools for S/MIME look for, set over Graph, by the lab, and found by filters.

Expected values: sources.md#user-properties, sources.md#read-only-properties, sources.md#directory-filters.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest

from pfxlab.emulator.config import Config
from pfxlab.emulator.graph.directory.user_properties import set_properties
from pfxlab.scenarios.lab.tenant.directory import TenantDirectory
from tests.conftest import new_lab
from tests.emulator.graph.client import admin
from tests.emulator.graph.directory.in_process import EVENTUAL, Directory

LAB_SETS: Final[dict[str, Any]] = {
    "proxyAddresses": ["SMTP:bob@pfxlab.example", "smtp:robert@pfxlab.example"],
    "onPremisesSamAccountName": "BOB",
    "onPremisesSyncEnabled": True,
    "onPremisesExtensionAttributes": {"extensionAttribute3": "S/MIME"},
    "employeeId": "4711",
    "companyName": "Contoso",
}


@pytest.fixture
def directory() -> Iterator[Directory]:
    """Return a directory of one test's own."""
    made = Directory()
    yield made
    made.cloud.close()


def test_properties_are_there_from_the_start(directory: Directory) -> None:
    """A user who was only named has addresses by mail, an identity, a licence, and null for what nobody set."""
    user = directory("GET", "beta/users/{bob}").body
    assert user["proxyAddresses"] == ["SMTP:bob@pfxlab.example"]
    assert (user["otherMails"], user["city"], user["onPremisesSyncEnabled"]) == ([], None, None)
    assert user["identities"] == [{"signInType": "userPrincipalName", "issuer": "pfxlab.example",
                                   "issuerAssignedId": "bob@pfxlab.example"}]  # fmt: skip
    assert [licence["skuId"] for licence in user["assignedLicenses"]] == ["061f9ace-7d42-4136-88ac-31dc755f143f"]
    assert set(user["onPremisesExtensionAttributes"]) == {f"extensionAttribute{n}" for n in range(1, 16)}
    plain = directory("GET", "v1.0/users/{bob}").body
    assert "proxyAddresses" not in plain
    selected = directory("GET", "v1.0/users/{bob}?$select=proxyAddresses,employeeId").body
    assert (selected["proxyAddresses"], selected["employeeId"]) == (["SMTP:bob@pfxlab.example"], None)


def test_graph_sets_what_graph_may(directory: Directory) -> None:
    """POST and PATCH keep other mail addresses, employee number, place and identities, and null takes a value away."""
    body = {"accountEnabled": True, "displayName": "Cy", "mailNickname": "cy", "userPrincipalName": "cy@pfxlab.example",
            "passwordProfile": {"password": "canary-Only-for-tests"}, "city": "Bern", "otherMails": ["cy@home.example"],
            "onPremisesExtensionAttributes": {"extensionAttribute1": "x"}}  # fmt: skip
    made = directory("POST", "v1.0/users", body)
    assert made.status == 201, made.text
    one = f"beta/users/{made.body['id']}"
    assert directory("PATCH", one, {"employeeId": "7", "city": None, "onPremisesImmutableId": "aW0="}).status == 204
    shown = directory("GET", one).body
    assert (shown["employeeId"], shown["city"], shown["otherMails"]) == ("7", None, ["cy@home.example"])
    assert shown["onPremisesImmutableId"] == "aW0="
    assert shown["onPremisesExtensionAttributes"]["extensionAttribute1"] == "x"


@pytest.mark.parametrize(
    ("name", "value"),
    [("proxyAddresses", ["SMTP:x@pfxlab.example"]), ("onPremisesSamAccountName", "x"), ("onPremisesSyncEnabled", True),
     ("assignedLicenses", [])],
)  # fmt: skip
def test_graph_does_not_set_what_others_set(directory: Directory, name: str, value: Any) -> None:
    """A property of Exchange, a licence or a directory on premises is refused by name."""
    text = f"Property '{name}' is read-only and cannot be set."
    assert directory("PATCH", "v1.0/users/{bob}", {name: value}).error == (400, "Request_BadRequest", text)


FOUND: Final = [
    ("proxyAddresses/any(p:p eq 'smtp:ROBERT@pfxlab.example')", {"bob"}),
    ("proxyAddresses/any(p:startswith(p,'SMTP:bob@'))", {"bob"}),
    ("proxyAddresses/any(p:endsWith(p,'robert@pfxlab.example'))", {"bob"}),
    ("identities/any(i:i/issuerAssignedId eq 'bob@pfxlab.example' and i/issuer eq 'pfxlab.example')", {"bob"}),
    ("assignedLicenses/any(l:l/skuId eq 061f9ace-7d42-4136-88ac-31dc755f143f) and employeeId eq '4711'", {"bob"}),
    ("assignedLicenses/any(l:l/skuId eq 00000000-7d42-4136-88ac-31dc755f143f)", set()),
    ("onPremisesExtensionAttributes/extensionAttribute3 eq 'S/MIME'", {"bob"}),
    ("onPremisesSamAccountName eq 'bob'", {"bob"}),
    ("onPremisesSyncEnabled eq true", {"bob"}),
    ("companyName eq 'Contoso'", {"bob"}),
    ("employeeId in ('4711','x')", {"bob"}),
    ("department eq 'Sales' or usageLocation eq 'CH'", {"ann"}),
    ("otherMails/any(m:m eq 'ann@home.example')", {"ann"}),
]
"""A $filter, and the users of the fixture below that it finds, by an advanced query."""


@pytest.fixture(scope="module")
def furnished() -> Iterator[Directory]:
    """Return a directory whose bob has what the lab may set, and whose ann what Graph may."""
    made = Directory()
    user = made.cloud.directory.user(made.tenant, made.bob)
    assert user is not None
    set_properties(made.cloud, user, LAB_SETS)
    ann = {"usageLocation": "CH", "otherMails": ["ann@home.example"]}
    assert made("PATCH", "v1.0/users/{ann}", ann).status == 204
    yield made
    made.cloud.close()


@pytest.mark.parametrize(("text", "names"), FOUND)
@pytest.mark.parametrize("path", ["users", "groups/{outer}/transitiveMembers/graph.user"])
def test_filters_find_users(furnished: Directory, path: str, text: str, names: set[str]) -> None:
    """Texts, lists of texts with any, lists of objects, and texts within an object are filtered, of members too."""
    reply = furnished("GET", f"v1.0/{path}?$count=true&$filter={quote(text)}", headers=EVENTUAL)
    assert reply.status == 200, reply.text
    assert reply.ids() == {getattr(furnished, name) for name in names}


def test_filters_of_what_an_object_has_not(furnished: Directory) -> None:
    """A text that the objects of a list do not have is no clause, nor is a list compared with a text."""
    for text in ("identities/any(i:i/shoeSize eq '1')", "proxyAddresses eq 'x'", "identities eq 'x'"):
        assert furnished("GET", f"v1.0/users?$filter={quote(text)}").status == 400


async def test_configuration_and_control_set_properties(tmp_path: Path) -> None:
    """The configuration file and the verb `user` set what Graph may not, and say what they do not know."""
    users = [{"upn": "dora@pfxlab.example", "password": "only for tests", "properties": LAB_SETS, "licence": False}]
    config = Config(tenants=({"domain": "pfxlab.example", "users": users},))
    async with new_lab(tmp_path, config) as lab:
        graph = await admin(lab)
        dora = (await graph("GET", "/beta/users/dora@pfxlab.example")).json
        assert (dora["proxyAddresses"], dora["onPremisesSamAccountName"]) == (LAB_SETS["proxyAddresses"], "BOB")
        assert dora["assignedLicenses"] == []
        tenant = TenantDirectory(lab)
        tenant.user("eve@pfxlab.example", properties=LAB_SETS)
        eve = (await graph("GET", "/beta/users/eve@pfxlab.example")).json
        assert eve["proxyAddresses"] == LAB_SETS["proxyAddresses"]
        with pytest.raises(ValueError, match=r"expected names of docs/configuration\.md, got shoeSize"):
            tenant.user("eve@pfxlab.example", properties={"shoeSize": 44})
        with pytest.raises(ValueError, match="proxyAddresses"):
            tenant.user("eve@pfxlab.example", properties={"proxyAddresses": "one"})
