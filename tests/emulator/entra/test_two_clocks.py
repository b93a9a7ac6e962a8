"""What runs on the wall clock and what on the lab's, and how tokens end before their time.

Expected values: sources.md#claims-challenge, sources.md#continuous-access, sources.md#throttling-guidance.
"""

import asyncio
import base64
import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import jwt
import msal
import pytest

from pfxlab.emulator.config import Config, Switches
from pfxlab.emulator.faults.plan import read_fault
from pfxlab.scenarios.lab.faults import RunFaults
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.world import World
from tests.conftest import movable_wall, new_lab
from tests.emulator.entra.test_entra import client_form, post_token
from tests.emulator.entra.test_sign_in_flows import DELEGATED, GRAPH, http, public_app
from tests.emulator.graph.client import PFX, Raw, Reply, admin, setup

MONTH = timedelta(days=30)
CP1 = '{"access_token":{"xms_cc":{"values":["CP1"]}}}'


def confidential_app(lab: Lab, *capabilities: str) -> msal.ConfidentialClientApplication:
    """Return MSAL's client for the lab's application."""
    made = lab.operator.credentials
    return msal.ConfidentialClientApplication(
        made.admin_client_id,
        client_credential=made.admin_client_secret,
        authority=lab.authority_url,
        instance_discovery=False,
        http_client=http(lab),
        client_capabilities=list(capabilities) or None,
    )


async def token_of(app: msal.ConfidentialClientApplication, challenge: str | None = None) -> str:
    """Return MSAL's token: from its cache, unless a claims challenge asks for a new one."""
    scopes = [f"{GRAPH}/.default"]
    answer = await asyncio.to_thread(app.acquire_token_for_client, scopes, claims_challenge=challenge)
    return str(answer["access_token"])


async def asked(lab: Lab, token: str) -> Reply:
    """Return Graph's answer to a token."""
    return await Raw(lab, token)("GET", PFX)


def plan(lab: Lab, kind: str, **settings: Any) -> None:
    """Plan a fault."""
    RunFaults(lab).plan(read_fault({"kind": kind, **settings}))


def challenge_of(reply: Reply) -> Any:
    """Return the claims that a challenge asks for, decoded as its documentation says."""
    found = re.search(r'error="insufficient_claims", claims="([^"]+)"', reply.headers["WWW-Authenticate"])
    return None if found is None else json.loads(base64.b64decode(found[1], validate=True))


def reasons(lab: Lab, rule: str) -> list[str | None]:
    """Return the true reasons of the refusals by a rule."""
    return [entry.reason for entry in lab.cloud.journal.entries() if entry.fields.get("rule") == rule]


async def test_msal_client_goes_on_after_a_month(lab: Lab) -> None:
    """After `advance 30d` MSAL's client goes on with the token of its cache: its own clock says that it is valid."""
    app = await asyncio.to_thread(confidential_app, lab)
    before = await token_of(app)
    lab.clock.advance(MONTH)
    after = await token_of(app)
    assert (after == before, (await asked(lab, after)).status) == (True, 200)


@pytest.mark.parametrize("lead", [MONTH, -MONTH], ids=["ahead", "behind"])
async def test_token_dates_fit_the_clients_clock(lab: Lab, lead: timedelta) -> None:
    """A token's dates are now by the client's clock, wherever the lab's stands."""
    lab.clock.set(lab.clock.now() + lead)
    answer = (await post_token(lab, **client_form(lab))).json
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    now = datetime.now(UTC).timestamp()
    assert all(abs(claims[name] - now) < 60 for name in ("iat", "nbf"))
    assert abs(claims["exp"] - now - answer["expires_in"]) < 60


async def test_retry_after_date_is_near_now(lab: Lab) -> None:
    """A Retry-After date lies as far ahead of the Date header as was asked for, with the lab's clock a month ahead."""
    graph = await admin(lab)
    lab.clock.advance(MONTH)
    plan(lab, "status", status=503, retry_after="date", wait=60)
    headers = (await graph("GET", PFX)).headers
    ahead = parsedate_to_datetime(headers["Retry-After"]) - parsedate_to_datetime(headers["Date"])
    assert timedelta(seconds=50) < ahead < timedelta(seconds=70)


async def test_throttled_client_is_let_go_while_the_lab_stands(tmp_path: Path) -> None:
    """With a standing lab clock a throttled client passes once its Retry-After is over by the wall clock."""
    async with new_lab(tmp_path, Config(switches=Switches(throttling="documented"))) as lab:
        graph, wall = await admin(lab), movable_wall(lab)
        lab.clock.freeze()
        wall.freeze()
        requests = [{"id": str(n), "method": "DELETE", "url": f"{PFX.removeprefix('/beta')}/{n}"} for n in range(20)]
        for _ in range(5):
            await graph("POST", "/beta/$batch", {"requests": requests})
        refused = await graph("DELETE", f"{PFX}/x")
        lab.clock.advance(MONTH)
        still = await graph("DELETE", f"{PFX}/x")
        wall.advance(timedelta(seconds=int(refused.headers["Retry-After"])))
        assert [refused.status, still.status, (await graph("DELETE", f"{PFX}/x")).status] == [429, 429, 204]


async def test_device_code_outlives_the_labs_month(lab: Lab) -> None:
    """MSAL's device flow goes on over `advance 30d`: its codes and polls are measured by the client's clock."""
    made, app = lab.operator.credentials, await asyncio.to_thread(public_app, lab)
    flow = await asyncio.to_thread(app.initiate_device_flow, scopes=DELEGATED)
    lab.clock.advance(MONTH)
    ticket = lab.cloud.tickets.with_user_code(flow["user_code"])
    user = lab.cloud.directory.user(made.tenant_id, made.user_upn)
    assert ticket is not None
    assert user is not None
    lab.cloud.tickets.approve(ticket, user["id"])
    assert "access_token" in await asyncio.to_thread(app.acquire_token_by_device_flow, flow)


async def test_tokens_end_when_time_passes_with_them(lab: Lab) -> None:
    """`pass` with expire_tokens ends every token so far as a lifetime does, and a token fetched at once is good."""
    world, app = World(lab), await asyncio.to_thread(confidential_app, lab)
    async with world.opened():
        before = await token_of(app)
        await world.pass_time(MONTH, expire_tokens=True)
        refused = await asked(lab, before)
        assert (refused.status, refused.message) == (401, "Lifetime validation failed, the token is expired.")
        assert challenge_of(refused) is None
        fresh = await post_token(lab, **client_form(lab))
        assert (await asked(lab, fresh.json["access_token"])).status == 200
        # The lab's own administrator is not the client under test: it goes on.
        await world.administrator.call("GET", PFX)


async def test_expired_tokens_stay_expired_over_a_restart(tmp_path: Path) -> None:
    """What ended a token is kept with the lab's data: after a restart it is still refused, another is not."""
    async with new_lab(tmp_path / "lab") as lab:
        plan(lab, "expired_token")
        ended, good = [(await post_token(lab, **client_form(lab))).json["access_token"] for _ in range(2)]
        assert (await asked(lab, ended)).status == 401
    async with new_lab(tmp_path / "lab") as lab:
        assert [(await asked(lab, token)).status for token in (ended, good)] == [401, 200]


async def test_next_requests_get_an_expired_token(lab: Lab) -> None:
    """The fault expired_token with times 2 strikes two requests, each with a new token, and not the third."""
    plan(lab, "expired_token", times=2)
    tokens = [(await post_token(lab, **client_form(lab))).json["access_token"] for _ in range(3)]
    replies = [await asked(lab, token) for token in tokens]
    assert [reply.status for reply in replies] == [401, 401, 200]
    assert replies[0].message == "Lifetime validation failed, the token is expired."


@pytest.mark.parametrize("declared", ['["CP1"]', '["cp1"]', '"cp1"'])
async def test_declared_capability_is_in_the_token(lab: Lab, declared: str) -> None:
    """A claims request that names cp1, in any case, alone or in a list, gives a token whose xms_cc says so."""
    claims = f'{{"access_token":{{"xms_cc":{{"values":{declared}}}}}}}'
    answer = (await post_token(lab, **client_form(lab), claims=claims)).json
    assert jwt.decode(answer["access_token"], options={"verify_signature": False})["xms_cc"] == ["CP1"]


@pytest.mark.parametrize(
    "claims", ["", "{", "[]", "null", '{"access_token":null}', '{"access_token":{"xms_cc":{"values":[7]}}}', "[" * 9000]
)
async def test_other_claims_declare_nothing(lab: Lab, claims: str) -> None:
    """A claims request that does not name cp1, or cannot be read, declares no capability."""
    answer = (await post_token(lab, **client_form(lab), claims=claims)).json
    assert "xms_cc" not in jwt.decode(answer["access_token"], options={"verify_signature": False})


async def test_msal_answers_the_challenge_of_a_revoked_token(lab: Lab) -> None:
    """MSAL with the capability CP1 is sent a claims challenge for a revoked token, and its new token is good."""
    app = await asyncio.to_thread(confidential_app, lab, "CP1")
    plan(lab, "expired_token", ending="revoked")
    revoked = await token_of(app)
    reply = await asked(lab, revoked)
    challenge = challenge_of(reply)
    assert (reply.status, reply.code) == (401, "InvalidAuthenticationToken")
    assert challenge["access_token"]["nbf"]["essential"] is True
    assert abs(int(challenge["access_token"]["nbf"]["value"]) - datetime.now(UTC).timestamp()) < 60
    fresh = await token_of(app, json.dumps(challenge))
    assert (fresh != revoked, (await asked(lab, fresh)).status) == (True, 200)


async def test_revoked_token_of_a_client_without_cp1(lab: Lab) -> None:
    """Without cp1 a revoked token gets no challenge; MSAL hands it out again, and the journal says so."""
    app = await asyncio.to_thread(confidential_app, lab)
    plan(lab, "expired_token", ending="revoked")
    revoked = await token_of(app)
    reply = await asked(lab, revoked)
    assert (reply.status, challenge_of(reply)) == (401, None)
    assert await token_of(app) == revoked
    (reason,) = reasons(lab, "TokenRevoked")
    assert reason is not None
    assert "did not declare the capability cp1; MSAL" in reason


def operator_form(lab: Lab, claims: str = "") -> dict[str, str]:
    """Return the form with which the operator signs in by password, but for the password."""
    made = lab.operator.credentials
    scope = f"{DELEGATED[0]} offline_access"
    known = {"client_id": made.public_client_id, "username": made.operator_upn, "scope": scope, "claims": claims}
    return {"grant_type": "password", **known}


@pytest.mark.parametrize(("capability", "status"), [(CP1, 401), ("", 200)], ids=["with cp1", "without"])
async def test_new_password_revokes_the_tokens_of_a_user(lab: Lab, capability: str, status: int) -> None:
    """A user's new password ends the tokens of clients with cp1 at once; others live on until they expire."""
    graph, made, form = await setup(lab), lab.operator.credentials, operator_form(lab, capability)
    token = (await post_token(lab, **form, password=made.operator_password)).json["access_token"]
    profile = {"passwordProfile": {"password": "An-0ther-Pass"}}
    assert (await graph("PATCH", f"/beta/users/{made.operator_upn}", profile)).status == 204
    assert (await asked(lab, token)).status == status
    again = (await post_token(lab, **form, password="An-0ther-Pass")).json["access_token"]
    assert (await asked(lab, again)).status == 200


@pytest.mark.parametrize(("capability", "status"), [(CP1, 401), ("", 200)], ids=["with cp1", "without"])
async def test_revoked_sessions_end_refresh_tokens(lab: Lab, capability: str, status: int) -> None:
    """`revokeSignInSessions` ends a user's refresh tokens, and access tokens of clients with cp1."""
    graph, made, form = await setup(lab), lab.operator.credentials, operator_form(lab, capability)
    tokens = (await post_token(lab, **form, password=made.operator_password)).json
    done = await graph("POST", f"/v1.0/users/{made.operator_upn}/revokeSignInSessions")
    assert (done.status, done.json["value"]) == (200, True)
    assert (await asked(lab, tokens["access_token"])).status == status
    refreshing = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    refused = await post_token(lab, client_id=made.public_client_id, scope=DELEGATED[0], **refreshing)
    assert (refused.status, refused.json["error"]) == (400, "invalid_grant")
    again = (await post_token(lab, **form, password=made.operator_password)).json["access_token"]
    assert (await asked(lab, again)).status == 200
