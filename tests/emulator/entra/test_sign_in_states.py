"""Users whom a password alone does not sign in: second factor, block, expired password, policy.

Expected values are Microsoft's, written from sources.md#sign-in-states, in the table below.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

import jwt
import msal
import pytest
import pytest_asyncio

from pfxlab.emulator.config import Config
from pfxlab.emulator.entra.principals.users import SignInState, set_state
from pfxlab.emulator.lab.seed import add_user
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import new_lab
from tests.emulator.entra.test_entra import client_form, post_token
from tests.emulator.entra.test_sign_in_flows import http
from tests.emulator.entra.test_sign_in_of_dotnet import in_lab
from tests.emulator.graph.client import Raw, Reply, admin

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRAPH = "https://graph.microsoft.com"
SCOPE = f"{GRAPH}/DeviceManagementConfiguration.ReadWrite.All offline_access"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
UPN, PASSWORD = "ada@pfxlab.example", "only for tests"
REDIRECT = "http://localhost:4711/x"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Return one lab for all tests of this file."""
    async with new_lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


def user_in(lab: Lab, state: SignInState) -> None:
    """Put the user of these tests into a state; her password is as new."""
    tenant = lab.operator.credentials.tenant_id
    add_user(lab.cloud, tenant, UPN, PASSWORD)
    row = lab.cloud.directory.user(tenant, UPN)
    assert row is not None
    set_state(lab.cloud, row, state)


def password_form(lab: Lab, **changes: str) -> dict[str, str]:
    """Return a password request of the user."""
    form = {"grant_type": "password", "client_id": lab.operator.credentials.public_client_id, "scope": SCOPE}
    return {**form, "username": UPN, "password": PASSWORD, **changes}


@dataclass(frozen=True)
class Refusal:
    """What the real service answers to a password in a state, and what the lab notes; version 1 differs in `error`."""

    state: SignInState
    number: int
    suberror: str | None
    first_version: str
    rule: str
    text: str
    confidence: Literal["high", "medium"]


REFUSALS = (
    Refusal("mfa", 50076, "basic_action", "interaction_required", "SecondFactorRequired",
            "you must use multi-factor authentication to access '00000003-0000-0000-c000-000000000000'.", "high"),
    Refusal("blocked", 50057, None, "invalid_grant", "UserBlocked", "The user account is disabled.", "high"),
    Refusal("password_expired", 50055, "user_password_expired", "invalid_grant", "PasswordExpired",
            "The password is expired.", "high"),
    Refusal("policy", 53003, "message_only", "interaction_required", "BlockedByPolicy",
            "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.",
            "high"),
)  # fmt: skip


@pytest.mark.parametrize("row", REFUSALS, ids=lambda row: row.state)
async def test_password_is_refused_by_the_users_state(lab: Lab, row: Refusal) -> None:
    """The right password gets the state's AADSTS number, at both versions; the journal names rule, user and tip."""
    user_in(lab, row.state)
    second = await post_token(lab, **password_form(lab))
    assert (second.status, second.json["error"], second.json["error_codes"]) == (400, "invalid_grant", [row.number])
    assert row.text in second.json["error_description"]
    assert second.json.get("suberror") == row.suberror
    form = urlencode(password_form(lab, resource=GRAPH)).encode()
    first = await Raw(lab, None)("POST", "/organizations/oauth2/token", data=form, headers=FORM)
    assert (first.json["error"], first.json["error_codes"]) == (row.first_version, [row.number])
    entry = lab.cloud.journal.entries(rule=row.rule)[-1]
    assert (entry.fields["upn"], entry.fields["code"], bool(entry.fields["tip"])) == (UPN, row.number, True)


@pytest.mark.parametrize("state", ["mfa", "blocked", "password_expired", "policy"])
async def test_wrong_password_tells_nothing_of_the_state(lab: Lab, state: SignInState) -> None:
    """A wrong password is AADSTS50126 whatever the user's state."""
    user_in(lab, state)
    reply = await post_token(lab, **password_form(lab, password="guessed"))
    assert reply.json["error_codes"] == [50126]


@pytest.mark.filterwarnings("ignore:This API has been deprecated:DeprecationWarning")
async def test_msal_sees_what_is_wanted(lab: Lab) -> None:
    """MSAL for Python hands on error, suberror and number of a missing second factor."""
    user_in(lab, "mfa")
    client_id, authority = lab.operator.credentials.public_client_id, "https://login.microsoftonline.com/organizations"

    def sign_in() -> Any:
        with in_lab(lab) as proxied:
            app = msal.PublicClientApplication(client_id, authority=authority, http_client=proxied)
            return app.acquire_token_by_username_password(UPN, PASSWORD, [f"{GRAPH}/User.Read"])

    result = await asyncio.to_thread(sign_in)
    assert (result["error"], result["suberror"], result["error_codes"]) == ("invalid_grant", "basic_action", [50076])


async def post_page(lab: Lab, path: str, **form: str) -> Reply:
    """Return the page that follows a form."""
    return await Raw(lab, None)("POST", path, data=urlencode(form).encode(), headers=FORM)


def hidden(page: Reply) -> dict[str, str]:
    """Return the hidden fields of a page's form."""
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text))


def authorize_path(lab: Lab) -> str:
    """Return the address of a code flow that posts its answer."""
    query = {"client_id": lab.operator.credentials.public_client_id, "response_type": "code", "scope": SCOPE,
             "redirect_uri": REDIRECT, "response_mode": "form_post"}  # fmt: skip
    return f"/organizations/oauth2/v2.0/authorize?{urlencode(query)}"


async def redeem(lab: Lab, page: Reply) -> Reply:
    """Return the answer to the code of a page."""
    form = {"grant_type": "authorization_code", "client_id": lab.operator.credentials.public_client_id}
    return await post_token(lab, **form, code=hidden(page)["code"], redirect_uri=REDIRECT)


def amr(reply: Reply) -> list[str]:
    """Return how a token's user has signed in."""
    body: dict[str, Any] = jwt.decode(reply.json["access_token"], options={"verify_signature": False})
    return list(body["amr"])


async def refreshed(lab: Lab, token: str) -> Reply:
    """Return the answer to a refresh token."""
    client_id = lab.operator.credentials.public_client_id
    return await post_token(lab, grant_type="refresh_token", client_id=client_id, refresh_token=token)


async def test_second_factor_is_shown_on_the_page(lab: Lab) -> None:
    """The sign-in page asks for approval; then the code gives a token with mfa in amr, and its refresh token too."""
    user_in(lab, "mfa")
    page = await post_page(lab, authorize_path(lab), username=UPN, password=PASSWORD)
    assert "Approve sign in request" in page.text
    assert PASSWORD not in page.text
    flow = hidden(page)["flow"]
    answer = await redeem(lab, await post_page(lab, authorize_path(lab), flow=flow))
    assert amr(answer) == ["pwd", "mfa"]
    assert amr(await refreshed(lab, answer.json["refresh_token"])) == ["pwd", "mfa"]
    again = await post_page(lab, authorize_path(lab), flow=flow)
    assert "The request has expired" in again.text


async def test_device_code_takes_a_second_factor(lab: Lab) -> None:
    """A device code is approved after the second factor, and MSAL's flow goes on with it."""
    user_in(lab, "mfa")
    client_id = lab.operator.credentials.public_client_id

    def app() -> msal.PublicClientApplication:
        return msal.PublicClientApplication(
            client_id, authority=lab.authority_url, instance_discovery=False, http_client=http(lab)
        )

    client = await asyncio.to_thread(app)
    flow = await asyncio.to_thread(client.initiate_device_flow, [f"{GRAPH}/User.Read"])
    path = flow["verification_uri"].removeprefix(lab.emulator.origin)
    page = await post_page(lab, path, user_code=flow["user_code"], username=UPN, password=PASSWORD)
    assert "Approve sign in request" in page.text
    done = await post_page(lab, path, **hidden(page))
    assert "You have signed in on your device" in done.text
    result = await asyncio.to_thread(client.acquire_token_by_device_flow, flow)
    assert result["id_token_claims"]["preferred_username"] == UPN


async def test_token_without_second_factor_ends_with_the_rule(lab: Lab) -> None:
    """A refresh token that was given for a password alone is refused once the user must show a second factor."""
    user_in(lab, "allowed")
    answer = await post_token(lab, **password_form(lab))
    assert amr(answer) == ["pwd"]
    user_in(lab, "mfa")
    assert (await refreshed(lab, answer.json["refresh_token"])).json["error_codes"] == [50076]


async def test_refresh_token_outlives_an_expired_password(lab: Lab) -> None:
    """What was given before a password expired goes on; only the password itself is refused."""
    user_in(lab, "allowed")
    answer = await post_token(lab, **password_form(lab))
    user_in(lab, "password_expired")
    assert (await refreshed(lab, answer.json["refresh_token"])).status == 200


async def test_expired_password_is_replaced_on_the_page(lab: Lab) -> None:
    """The page asks for another password, twice; sign-in goes on with it, and what was given for the old one ends."""
    user_in(lab, "allowed")
    before = (await post_token(lab, **password_form(lab))).json["refresh_token"]
    user_in(lab, "password_expired")
    path, old = authorize_path(lab), PASSWORD
    page = await post_page(lab, path, username=UPN, password=old)
    assert "Update your password" in page.text
    for new, confirm in (("one", "two"), (old, old), ("", "")):
        form = {"password": old, "new_password": new, "confirm_password": confirm}
        again = await post_page(lab, path, **hidden(page), **form)
        assert (again.status, "Enter another password twice" in again.text) == (400, True)
    form = {"password": old, "new_password": "another", "confirm_password": "another"}
    answer = await redeem(lab, await post_page(lab, path, **hidden(page), **form))
    assert answer.status == 200
    assert (await post_token(lab, **password_form(lab))).json["error_codes"] == [50126]
    assert (await post_token(lab, **password_form(lab, password="another"))).status == 200
    assert (await refreshed(lab, before)).json["error"] == "invalid_grant"


async def test_password_that_an_administrator_sets_has_not_expired(lab: Lab) -> None:
    """A new password over Graph lets a user in whose old one had expired."""
    user_in(lab, "password_expired")
    made = lab.operator.credentials
    form = {"client_id": made.setup_client_id, "client_secret": made.setup_client_secret}
    setup = Raw(lab, (await post_token(lab, **client_form(lab, **form))).json["access_token"])
    body = {"passwordProfile": {"password": "set by an administrator", "forceChangePasswordNextSignIn": False}}
    assert (await setup("PATCH", f"/beta/users/{UPN}", body)).status == 204
    assert (await post_token(lab, **password_form(lab, password="set by an administrator"))).status == 200


@pytest.mark.parametrize(
    ("state", "text"),
    [("blocked", "Your account has been locked. Contact your support person to unlock it, then try again."),
     ("policy", "Your sign-in was successful but does not meet the criteria to access this resource.")],
)  # fmt: skip
async def test_page_tells_why_there_is_no_way(lab: Lab, state: SignInState, text: str) -> None:
    """A blocked user, and one whom a policy stops, read Entra ID's sentence, get no code, and the journal has the rule."""
    user_in(lab, state)
    rule = {"blocked": "UserBlocked", "policy": "BlockedByPolicy"}[state]
    before = len(lab.cloud.journal.entries(rule=rule))
    page = await post_page(lab, authorize_path(lab), username=UPN, password=PASSWORD)
    assert (page.status, text in page.text, "code" in hidden(page)) == (400, True, False)
    assert len(lab.cloud.journal.entries(rule=rule)) == before + 1


async def test_on_behalf_of_asks_for_interaction(lab: Lab) -> None:
    """A middle tier whose user must show a second factor gets interaction_required; one who has shown it, a token."""
    made = lab.operator.credentials
    user_in(lab, "allowed")
    mine = await post_token(lab, **password_form(lab, scope=f"api://{made.admin_client_id}/.default"))
    form = client_form(
        lab, grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", requested_token_use="on_behalf_of"
    )
    user_in(lab, "mfa")
    refused = await post_token(lab, **form, assertion=mine.json["access_token"])
    assert (refused.json["error"], refused.json["error_codes"]) == ("interaction_required", [50076])


async def test_graph_shows_and_lifts_the_block(lab: Lab) -> None:
    """A blocked user is accountEnabled false in Graph, and true again lets the user in; no other state is seen there."""
    user_in(lab, "blocked")
    setup, made = Raw(lab, None), lab.operator.credentials
    form = {"client_id": made.setup_client_id, "client_secret": made.setup_client_secret}
    token = (await post_token(lab, **client_form(lab, **form))).json["access_token"]
    setup = Raw(lab, token)
    assert (await setup("GET", f"/beta/users/{UPN}?$select=accountEnabled")).json["accountEnabled"] is False
    assert (await setup("PATCH", f"/beta/users/{UPN}", {"accountEnabled": True})).status == 204
    assert (await post_token(lab, **password_form(lab))).status == 200
    user_in(lab, "mfa")
    assert "labSignIn" not in (await (await admin(lab))("GET", f"/beta/users/{UPN}")).text


async def test_automatic_user_shows_the_second_factor_too(tmp_path: Any) -> None:
    """The user of auto_approve_upn approves device codes with a second factor, and none once blocked."""
    async with new_lab(tmp_path, Config(auto_approve_upn=UPN)) as lab:
        user_in(lab, "mfa")
        form = {"client_id": lab.operator.credentials.public_client_id, "scope": SCOPE}
        path = "/organizations/oauth2/v2.0/devicecode"
        flow = (await post_page(lab, path, **form)).json
        grant = {"grant_type": "device_code", "client_id": form["client_id"]}
        assert amr(await post_token(lab, **grant, device_code=flow["device_code"])) == ["pwd", "mfa"]
        user_in(lab, "blocked")
        flow = (await post_page(lab, path, **form)).json
        pending = await post_token(lab, **grant, device_code=flow["device_code"])
        assert pending.json["error"] == "authorization_pending"
