"""Who may do what: every route with every kind of credential. A new route is in it at once, or belongs to no group."""

import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import jwt
import pytest
import pytest_asyncio

from pfxlab.connector_sim.service import Settings, enroll
from pfxlab.device_sim.client import DeviceClient
from pfxlab.emulator.admin.session import COOKIE
from pfxlab.emulator.entra.keys import signing_key_of
from pfxlab.emulator.graph.dispatch import build_router, dispatch
from pfxlab.emulator.graph.request import Incoming
from pfxlab.emulator.graph.router import CAST
from pfxlab.emulator.lab.seed import add_user
from pfxlab.emulator.server import build_app
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import new_lab
from tests.emulator.entra.test_entra import client_form, post_token
from tests.emulator.intune.test_enrollment import hardware

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER_TENANT, OTHER_APP = "99999999-2222-4333-8444-555555555555", "88888888-2222-4333-8444-555555555555"
ID = "77777777-2222-4333-8444-555555555555"
CREDENTIALS = ("none", "other tenant", "other audience", "expired", "no role", "no permission", "device", "connector",
               "control", "admin cookie", "administrator", "application")  # fmt: skip
NO_TOKEN = {"none", "other audience", "expired", "device", "connector", "control", "admin cookie"}
"""With these nobody has a token for Graph."""


@dataclass(frozen=True)
class Matrix:
    """A lab, the headers of each kind of credential, and the TLS contexts of device and connector."""

    lab: Lab
    headers: dict[str, dict[str, str]]
    tls: dict[str, ssl.SSLContext]
    sessions: dict[str, aiohttp.ClientSession]

    async def __call__(self, credential: str, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Return status and text of an answer to one of the credentials."""
        tls = self.tls.get(credential, self.tls["none"])
        async with self.sessions[credential].request(
            method, path, headers=self.headers.get(credential, {}), json=body, ssl=tls, allow_redirects=False
        ) as answer:
            return answer.status, await answer.text(errors="replace")


def with_claims(lab: Lab, token: str, **claims: Any) -> str:
    """Return a token with some claims changed, signed by the lab's own key."""
    return signing_key_of(lab.cloud).sign({**jwt.decode(token, options={"verify_signature": False}), **claims})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def matrix(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Matrix]:
    """Return a running lab with one of each kind of credential."""
    folder: Path = tmp_path_factory.mktemp("lab")
    async with new_lab(folder) as lab:
        made = lab.operator.credentials
        application = str((await post_token(lab, **client_form(lab))).json["access_token"])
        administrator = await lab.user_token(made.operator_upn, made.operator_password)
        add_user(lab.cloud, made.tenant_id, "plain@pfxlab.example", "plain-password")
        plain = await lab.user_token("plain@pfxlab.example", "plain-password")
        tokens = {
            "application": application,
            "administrator": administrator,
            "no role": plain,
            "no permission": with_claims(lab, application, roles=[], appid=OTHER_APP),
            "other tenant": with_claims(
                lab, application, tid=OTHER_TENANT, appid=OTHER_APP, iss=f"https://sts.windows.net/{OTHER_TENANT}/"
            ),
            "other audience": with_claims(lab, application, aud="https://vault.azure.net"),
            "expired": with_claims(lab, application, exp=1),
            "control": lab.emulator.control_token,
        }
        headers = {name: {"Authorization": f"Bearer {token}"} for name, token in tokens.items()}
        device = await DeviceClient(lab.emulator.origin, lab.emulator.tls.ca_pem, lab.clock, lab.new_key).enroll(
            None, administrator, made.operator_upn, hardware("ios")
        )
        connector = await enroll(
            Settings(lab.emulator.origin, lab.ca_file), administrator, folder / "own", "own", "OWN", lab.new_key
        )
        tls = {
            "none": ssl.create_default_context(cafile=str(lab.ca_file)),
            "device": device.identity.tls(lab.emulator.tls.ca_pem),
            "connector": connector.tls(lab.ca_file),
        }
        sessions = {name: aiohttp.ClientSession(lab.emulator.origin) for name in CREDENTIALS}
        form = urlencode({"username": made.operator_upn, "password": made.operator_password, "to": "/admin"})
        form_headers = {"Content-Type": "application/x-www-form-urlencoded"}
        async with sessions["none"].post(
            "/admin/sign-in", data=form, headers=form_headers, ssl=tls["none"], allow_redirects=False
        ) as answer:
            found = next(one for name, one in answer.cookies.items() if name.startswith(COOKIE))
            headers["admin cookie"] = {"Cookie": f"{found.key}={found.value}"}
        sessions["none"].cookie_jar.clear()
        yield Matrix(lab, headers, tls, sessions)
        for session in sessions.values():
            await session.close()


GRAPH_ROUTES = [
    (method, version, template) for method, template, route in build_router().table for version in route.versions
]


def graph_status(matrix: Matrix, credential: str, method: str, version: str, template: str) -> tuple[int, bytes]:
    """Return status and body of what Graph answers at a route, in process."""
    path, origin = template.replace("{}", ID).replace(CAST, "microsoft.graph.user"), matrix.lab.emulator.origin
    headers = {name.lower(): value for name, value in matrix.headers.get(credential, {}).items()}
    answer = dispatch(matrix.lab.cloud, Incoming(method, origin, version, path, "", headers, b""))
    return answer.status, answer.body


def graph_allows(credential: str, template: str) -> int | None:
    """Return the status with which Graph refuses a credential, None where it lets it in."""
    if credential in NO_TOKEN:
        return 401
    if credential == "no permission":
        return 403
    return 403 if credential == "no role" and "devicemanagement" in template.lower() else None


@pytest.mark.parametrize("credential", [one for one in CREDENTIALS if one != "administrator"])
async def test_graph_lets_in_who_may(matrix: Matrix, credential: str) -> None:
    """Each route of Graph answers 401 without a token for it, 403 without permission or role, and shows other tenants nothing."""
    assert len(GRAPH_ROUTES) > 60
    home = matrix.lab.operator.credentials.tenant_id.encode()
    wrong = {}
    for method, version, template in GRAPH_ROUTES:
        status, body = graph_status(matrix, credential, method, version, template)
        expected = graph_allows(credential, template)
        if (
            (expected is not None and status != expected)
            or (credential == "other tenant" and (home in body or b"pfxlab.example" in body))
            or (credential in ("application", "other tenant") and status == 401)
        ):
            wrong[f"{method} {version}/{template}"] = status
    assert wrong == {}


PUBLIC = (
    r"/admin/(style\.css|live\.js|icon\.svg|sign-in|no-tour)", r"/favicon\.ico", r"/lab/v1/(health|openapi\.json)",
    r"/\{tenant\}/((v2\.0/)?\.well-known/openid-configuration|discovery/(v2\.0/)?keys|oauth2/(v2\.0/)?\w+|(v2\.0/)?adminconsent)",
    r"/common/(discovery/instance|oauth2/deviceauth)", r"/\{tenant\}/\{realm\}/?(\{upn\})?", r"/metadata/\{path\}",
    "/EnrollmentServer/Discovery.svc",
)  # fmt: skip
"""What anybody may ask: documents, and where one signs in. What a token request must prove is tests/emulator/entra's."""

GROUPS = {
    "public": PUBLIC,
    "graph": (r"/(beta|v1\.0)/\{tail\}", r"/\{version\}\{tail\}", r"/\{tail\}"),
    "admin stream": ("/admin/live",),
    "admin": (r"/admin(/.*)?",),
    "control": (r"/lab/v1/.*",),
    "device": ("/devicegatewayproxy/.*", "/mdm/apple/(checkin|connect)", "/android/.*"),
    "own proof": ("/EnrollmentServer/.*", r"/mdm/apple/scep.*"),
    "user": ("/mdm/apple/enroll.*",),
    "azure": ("/subscriptions", "/tenants"),
    "connector enrolment": (r"/connector/.*/enroll", r"/connector/v1/enroll"),
    "connector": (r"/connector/.*",),
}
"""Who answers there, the first that fits."""


def group_of(path: str) -> str:
    """Return the group of a route; one of none is to be put into one."""
    for group, patterns in GROUPS.items():
        if any(re.fullmatch(pattern, path) for pattern in patterns):
            return group
    raise AssertionError(f"expected a route of a group of GROUPS, got {path}: say there who may ask it")


def routes(lab: Lab) -> list[tuple[str, str, str]]:
    """Return (group, method, path) of each route that the server has."""
    found = []
    for route in build_app(lab.cloud, "x").router.routes():
        path = "" if route.resource is None else str(route.resource.canonical)
        if route.method != "HEAD":
            found.append((group_of(path), route.method, re.sub(r"\{\w+\}", ID, path)))
    return found


SIGN_IN_FORM = 'type="password"'
ENROLMENT = {
    "certificateRequest": "AAAA",
    "connectorName": "c",
    "machineName": "m",
    "connectorVersion": "6.2406.0.1001",
}


def expected_status(group: str, credential: str) -> set[int]:
    """Return the statuses of which a credential gets one at a route of a group."""
    refused = {401}
    by_token = 401 if credential in NO_TOKEN else 403
    table: dict[str, dict[str, set[int]]] = {
        "admin": {"admin cookie": {200, 303, 403, 404}},
        "admin stream": {"admin cookie": {404}},
        "control": {"control": {400}},
        "device": {"device": {200, 400}},
        "user": {"administrator": {200}, "no role": {200}},
        "connector enrolment": {"administrator": {400}},
        "azure": {},
        "connector": {"connector": {200, 400}, "device": {403}},
    }
    if group == "admin":
        refused = {200}
    elif group in ("user", "connector enrolment"):
        refused = {by_token}
    return table[group].get(credential, refused)


async def test_routes_let_in_who_may(matrix: Matrix) -> None:
    """Each route but Graph's and the public ones lets in the credential it is for, and refuses every other kind."""
    wrong, seen = {}, set()
    for group, method, path in routes(matrix.lab):
        if group in ("public", "own proof", "graph"):
            continue
        seen.add(group)
        # A query nobody knows: whoever is let in by the control API is refused before anything is done.
        asked = f"{path}?nosuch=1" if group == "control" else path
        for credential in CREDENTIALS:
            body = ENROLMENT if group == "connector enrolment" else None
            status, text = await matrix(credential, method, asked, body)
            in_form = group == "admin" and credential != "admin cookie" and SIGN_IN_FORM not in text
            if status not in expected_status(group, credential) or in_form:
                wrong[f"{credential}: {method} {path}"] = status
            if group == "admin" and credential == "admin cookie" and SIGN_IN_FORM in text:
                wrong[f"{credential}: {method} {path}"] = status
    assert wrong == {}
    assert seen == set(GROUPS) - {"public", "own proof", "graph"}


async def test_credentials_change_nothing_where_they_are_not_asked_for(matrix: Matrix) -> None:
    """A public route, and one whose messages bring their own proof, answer to every credential as to none."""
    wrong = {}
    for group, method, path in routes(matrix.lab):
        if group not in ("public", "own proof"):
            continue
        plain, _ = await matrix("none", method, path)
        if group == "own proof" and plain < 400:
            wrong[f"none: {method} {path}"] = plain
        for credential in CREDENTIALS[1:]:
            status, _ = await matrix(credential, method, path)
            if status != plain:
                wrong[f"{credential}: {method} {path}"] = status
    assert wrong == {}
