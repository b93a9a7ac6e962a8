"""What a token, a code or an administrator's consent is worth, and to whom the sign-in pages answer."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
import pytest_asyncio

from pfxlab.emulator.entra.authorize import may_consent
from pfxlab.emulator.entra.keys import signing_key_of
from pfxlab.emulator.store.directory import App
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import movable_wall, new_lab
from tests.emulator.entra.test_entra import client_form, post_token
from tests.emulator.graph.client import PFX, Raw, Reply
from tests.emulator.raw_wire import RawWire

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRAPH = "https://graph.microsoft.com"
SCOPE = f"{GRAPH}/DeviceManagementConfiguration.ReadWrite.All"
REDIRECT = "http://localhost:4711/x"
BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Return one lab for all tests of this file."""
    async with new_lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


async def status(lab: Lab, token: str) -> int:
    """Return what Graph answers to a token."""
    return (await Raw(lab, token)("GET", PFX)).status


async def application_token(lab: Lab) -> str:
    """Return a fresh token of the lab's application."""
    return str((await post_token(lab, **client_form(lab))).json["access_token"])


def changed(lab: Lab, token: str, **claims: Any) -> str:
    """Return a token with some claims changed, signed by the lab's own key."""
    body = jwt.decode(token, options={"verify_signature": False})
    return signing_key_of(lab.cloud).sign({**body, **claims})


async def test_another_spelling_of_a_token_is_not_that_token(lab: Lab) -> None:
    """A token with padding, or with other unused bits in its last character, is refused although its bytes are the same."""
    token = await application_token(lab)
    # 256 bytes of signature leave four unused bits in the last of 342 characters.
    other = token[:-1] + BASE64URL[BASE64URL.index(token[-1]) + 1]
    assert [await status(lab, one) for one in (token, f"{token}==", f"{token}=", other)] == [200, 401, 401, 401]


async def test_token_of_another_issuer_is_refused(lab: Lab) -> None:
    """A token names the issuer of its own tenant, whoever signed it."""
    token = await application_token(lab)
    odd = changed(lab, token, iss="https://sts.windows.net/11111111-2222-4333-8444-555555555555/")
    reply = await Raw(lab, odd)("GET", PFX)
    assert (reply.status, reply.code) == (401, "InvalidAuthenticationToken")
    assert lab.cloud.journal.entries(newest=True, limit=1)[0].reason == "the token's issuer is not its tenant's"


async def test_token_of_the_future_is_refused(lab: Lab) -> None:
    """A token counts from its `nbf` on; five minutes of difference between two clocks are allowed."""
    token, now = await application_token(lab), int(lab.clock.now().timestamp())
    assert await status(lab, changed(lab, token, nbf=now + 240)) == 200
    assert await status(lab, changed(lab, token, nbf=now + 900, uti="later")) == 401


async def test_token_outlives_a_clock_that_is_set_back(lab: Lab) -> None:
    """A token that was issued before the lab's clock was set back is not one of the future."""
    token, now = await application_token(lab), lab.clock.now()
    lab.clock.set(now - timedelta(days=2))
    try:
        assert await status(lab, token) == 200
    finally:
        lab.clock.set(now)


async def code_for(lab: Lab) -> str:
    """Return an authorization code of the mail user for the public application."""
    made = lab.operator.credentials
    query = {"client_id": made.public_client_id, "response_type": "code", "redirect_uri": REDIRECT,
             "response_mode": "form_post", "scope": f"{SCOPE} offline_access"}  # fmt: skip
    person = urlencode({"username": made.user_upn, "password": made.user_password}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    page = await Raw(lab, None)(
        "POST", f"/common/oauth2/v2.0/authorize?{urlencode(query)}", data=person, headers=headers
    )
    return page.text.partition('name="code" value="')[2].partition('"')[0]


async def redeem(lab: Lab, code: str) -> Reply:
    """Redeem a code."""
    made = lab.operator.credentials
    return await post_token(
        lab, grant_type="authorization_code", client_id=made.public_client_id, redirect_uri=REDIRECT, code=code
    )


async def refresh(lab: Lab, token: str) -> Reply:
    """Ask for new tokens by a refresh token."""
    made = lab.operator.credentials
    return await post_token(
        lab, grant_type="refresh_token", client_id=made.public_client_id, refresh_token=token, scope=""
    )


async def test_tokens_of_a_replayed_code_are_revoked(lab: Lab) -> None:
    """A code that comes a second time ends what was given for it, and what that was renewed to, and nothing else."""
    code = await code_for(lab)
    other = (await redeem(lab, await code_for(lab))).json
    first = (await redeem(lab, code)).json
    second = (await refresh(lab, first["refresh_token"])).json
    tokens = [first["access_token"], second["access_token"], other["access_token"]]
    assert [await status(lab, one) for one in tokens] == [200, 200, 200]
    replayed = await redeem(lab, code)
    assert (replayed.status, replayed.json["error"]) == (400, "invalid_grant")
    assert [await status(lab, one) for one in tokens] == [401, 401, 200]
    answers = [await refresh(lab, one["refresh_token"]) for one in (first, second, other)]
    assert [answer.status for answer in answers] == [400, 400, 200]


async def test_expired_tickets_are_purged(lab: Lab) -> None:
    """Codes and refresh tokens that have expired are gone a day later, at the next that is issued."""
    await code_for(lab)
    await redeem(lab, await code_for(lab))
    machine = lab.cloud.wall
    try:
        movable_wall(lab).advance(timedelta(days=92))
        await code_for(lab)
        assert lab.cloud.store.scalar("select count(*) from tickets") == 1
    finally:
        lab.cloud.wall = machine


GLOBAL, PRIVILEGED_ROLE = "62e90394-69f5-4237-9190-012177145e10", "e8611ab8-c189-46e8-94e1-60213ab1f814"
APPLICATION, CLOUD_APPLICATION = "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3", "158c047a-c907-4556-b7ef-446551a6b5f7"
INTUNE = "3a2c62db-5318-420d-8d74-23affee5d9d5"


@pytest.mark.parametrize(
    ("role", "scopes", "app_roles"),
    [
        (GLOBAL, True, True),
        (PRIVILEGED_ROLE, True, True),
        (APPLICATION, True, False),
        (CLOUD_APPLICATION, True, False),
        (INTUNE, False, False),
    ],
)
async def test_consent_needs_the_documented_roles(role: str, scopes: bool, app_roles: bool) -> None:
    """Four roles consent to delegated permissions, two of them to Graph's application permissions."""
    nothing = App("app", "tenant", "app", None, (), (), is_public=True)
    of_users = replace(nothing, requested_scopes=("User.Read.All",))
    of_its_own = replace(nothing, requested_app_roles=("User.Read.All",))
    assert (may_consent([role], of_users), may_consent([INTUNE, role], of_its_own)) == (scopes, app_roles)


async def test_sign_in_pages_stand_in_no_frame(lab: Lab) -> None:
    """Each page of sign-in forbids frames and foreign scripts, and lets its form go to the lab and the redirect alone."""
    made = lab.operator.credentials
    query = urlencode({"client_id": made.public_client_id, "response_type": "code", "redirect_uri": REDIRECT})
    wrong = urlencode({"client_id": "none"})
    for path, forms in (
        (f"/common/oauth2/v2.0/authorize?{query}", "'self' http://localhost:4711"),
        (f"/common/oauth2/v2.0/authorize?{wrong}", "'self'"),
        ("/common/oauth2/deviceauth", "'self'"),
        (f"/{made.tenant_id}/adminconsent?client_id={made.public_client_id}", "'self'"),
    ):
        headers = (await Raw(lab, None)("GET", path)).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert (policy["default-src"], policy["frame-ancestors"], policy["base-uri"]) == ("'none'", "'none'", "'none'")
        assert (policy["form-action"], headers["X-Frame-Options"]) == (forms, "DENY")
        assert "unsafe-inline" not in policy["script-src"]


@pytest.mark.parametrize("path", ["/admin", "/admin/sign-in", "/lab/v1/health", "/lab/v1/openapi.json"])
async def test_own_pages_answer_to_their_own_names(lab: Lab, path: str) -> None:
    """The admin centre and the control API answer to this machine's names alone: other names get 421, Microsoft's 404."""
    wire = RawWire(lab)
    port = lab.emulator.port
    statuses = {name: (await wire("GET", path, host=name))[0] for name in (
        b"localhost", b"LOCALHOST:%d" % port, b"127.0.0.1:%d" % port, b"[::1]:%d" % port,
        b"evil.example", b"evil.example:%d" % port, b"localhost.evil.example",
        b"login.microsoftonline.com", b"GRAPH.microsoft.com", b"westeurope.login.microsoft.com:%d" % port,
    )}  # fmt: skip
    assert list(statuses.values()) == [200] * 4 + [421] * 3 + [404] * 3


async def test_sign_in_answers_to_microsofts_names_too(lab: Lab) -> None:
    """Sign-in answers under the names of Microsoft's that lead to the lab, and under no other; Graph under any."""
    wire, path = RawWire(lab), "/common/v2.0/.well-known/openid-configuration"
    for name, expected in ((b"login.microsoftonline.com", 200), (b"localhost", 200), (b"evil.example", 421)):
        code, body = await wire("GET", path, host=name)
        assert code == expected
    assert json.loads(body)["error"] == "invalid_request"
    assert (await wire("GET", "/beta/$metadata", host=b"graph.example"))[0] == 200
