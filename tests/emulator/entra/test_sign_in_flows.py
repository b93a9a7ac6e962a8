"""Sign-in flows with MSAL, unmodified, and the parts MSAL does not show.

Expected values: sources.md#authority-documents, sources.md#token-endpoint, sources.md#authorize-response-mode.
"""

import asyncio
import base64
import re
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import aiohttp
import jwt
import msal
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.emulator.config import Config
from pfxlab.emulator.entra.grants import GLOBAL_ADMINISTRATOR
from pfxlab.emulator.wire.files.key_pem import to_pem
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import movable_wall, new_lab
from tests.emulator.entra.test_entra import client_form, post_token
from tests.emulator.graph.client import PFX, Raw

GRAPH = "https://graph.microsoft.com"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
DELEGATED = [f"{GRAPH}/DeviceManagementConfiguration.ReadWrite.All"]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def http(lab: Lab) -> requests.Session:
    """Return an HTTP client for MSAL that trusts the lab regardless of the environment."""
    session = requests.Session()
    session.trust_env, session.verify = False, str(lab.ca_file)
    # MSAL never closes its session; a connection kept alive would outlive the lab.
    session.headers["Connection"] = "close"
    return session


def public_app(lab: Lab) -> msal.PublicClientApplication:
    """Return MSAL's public client for the lab."""
    return msal.PublicClientApplication(
        lab.operator.credentials.public_client_id,
        authority=lab.authority_url,
        instance_discovery=False,
        http_client=http(lab),
    )


def claims(token: str) -> dict[str, Any]:
    """Return a token's claims, unverified."""
    body: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return body


async def works(lab: Lab, token: str) -> bool:
    """Return whether Graph accepts a token."""
    return (await Raw(lab, token)("GET", PFX)).status == 200


async def post_form(lab: Lab, path: str, **form: str) -> Any:
    """Send a form to a page."""
    return await Raw(lab, None)("POST", path, data=urlencode(form).encode(), headers=FORM)


async def test_device_code_waits_for_its_user(lab: Lab) -> None:
    """MSAL's device flow waits until the user approves the code on the page, then gets a token for that user."""
    made, app = lab.operator.credentials, await asyncio.to_thread(public_app, lab)
    flow = await asyncio.to_thread(app.initiate_device_flow, scopes=DELEGATED)
    page = urlsplit(flow["verification_uri"]).path
    assert flow["user_code"] in flow["message"]
    assert (await Raw(lab, None)("GET", page)).status == 200
    early = await post_token(
        lab, grant_type="device_code", client_id=made.public_client_id, device_code=flow["device_code"]
    )
    assert (early.status, early.json["error"], early.json["error_codes"]) == (400, "authorization_pending", [70016])
    person = {"username": made.user_upn, "password": made.user_password}
    assert (await post_form(lab, page, user_code="WRONG", **person)).status == 400
    wrong = {**person, "password": "wrong"}
    assert (await post_form(lab, page, user_code=flow["user_code"], **wrong)).status == 400
    assert (await post_form(lab, page, user_code=flow["user_code"].lower(), **person)).status == 200
    result = await asyncio.to_thread(app.acquire_token_by_device_flow, flow)
    assert claims(result["access_token"])["upn"] == made.user_upn
    assert await works(lab, result["access_token"])
    again = await post_token(
        lab, grant_type="device_code", client_id=made.public_client_id, device_code=flow["device_code"]
    )
    assert again.json["error"] == "bad_verification_code"


async def test_device_code_can_be_approved_at_once(tmp_path: Path) -> None:
    """With an automatic user the device flow needs no browser."""
    async with new_lab(tmp_path, Config(auto_approve_upn="user@pfxlab.example")) as lab:
        app = await asyncio.to_thread(public_app, lab)
        flow = await asyncio.to_thread(app.initiate_device_flow, scopes=DELEGATED)
        result = await asyncio.to_thread(app.acquire_token_by_device_flow, flow)
        assert await works(lab, result["access_token"])


async def test_old_device_code_is_expired(lab: Lab) -> None:
    """A device code not approved within its lifetime is an expired_token."""
    made = lab.operator.credentials
    reply = await post_form(
        lab, f"/{made.tenant_id}/oauth2/v2.0/devicecode", client_id=made.public_client_id, scope=DELEGATED[0]
    )
    movable_wall(lab).advance(timedelta(seconds=901))
    late = await post_token(
        lab, grant_type="device_code", client_id=made.public_client_id, device_code=reply.json["device_code"]
    )
    assert (late.json["error"], late.json["error_codes"]) == ("expired_token", [70020])


async def sign_in(lab: Lab, address: str, password: str | None = None) -> Any:
    """Fill the sign-in form at an address of MSAL's."""
    made = lab.operator.credentials
    path = address.removeprefix(lab.emulator.origin)
    return await post_form(lab, path, username=made.user_upn, password=password or made.user_password)


async def test_code_flow_posts_back_to_msal(lab: Lab) -> None:
    """MSAL's code flow with PKCE: sign-in form, form_post page with code and state, token with the nonce checked."""
    app = await asyncio.to_thread(public_app, lab)
    flow = app.initiate_auth_code_flow(DELEGATED, redirect_uri="http://localhost:12345", response_mode="form_post")
    form = await Raw(lab, None)("GET", flow["auth_uri"].removeprefix(lab.emulator.origin))
    assert 'type="password"' in form.text
    assert "wrong" in (await sign_in(lab, flow["auth_uri"], "wrong")).text
    page = await sign_in(lab, flow["auth_uri"])
    assert 'action="http://localhost:12345"' in page.text
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.text))
    result = await asyncio.to_thread(app.acquire_token_by_auth_code_flow, flow, fields)
    assert await works(lab, result["access_token"])
    assert result["id_token_claims"]["preferred_username"] == lab.operator.credentials.user_upn
    silent = await asyncio.to_thread(app.acquire_token_silent, DELEGATED, app.get_accounts()[0], force_refresh=True)
    assert await works(lab, silent["access_token"])


async def test_code_in_the_query_for_older_clients(lab: Lab) -> None:
    """Without form_post the code is sent by redirect; it is valid for one attempt, with the right verifier only."""
    made = lab.operator.credentials
    query = {
        "client_id": made.public_client_id, "response_type": "code", "redirect_uri": "http://localhost/x?a=b",
        "scope": DELEGATED[0], "state": "s&t", "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }  # fmt: skip
    address = f"{lab.authority_url}/oauth2/v2.0/authorize?{urlencode(query)}"

    async def code() -> str:
        made_form = urlencode({"username": made.user_upn, "password": made.user_password}).encode()
        tls = ssl.create_default_context(cafile=str(lab.ca_file))
        async with (
            aiohttp.ClientSession() as session,
            session.post(address, data=made_form, headers=FORM, ssl=tls, allow_redirects=False) as response,
        ):
            target = urlsplit(response.headers["Location"])
        assert (target.netloc, parse_qs(target.query)["state"]) == ("localhost", ["s&t"])
        return parse_qs(target.query)["code"][0]

    form = {
        "grant_type": "authorization_code",
        "client_id": made.public_client_id,
        "redirect_uri": query["redirect_uri"],
    }
    # The verifier of RFC 7636, appendix B.
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    first = await code()
    wrong = await post_token(lab, **form, code=first, code_verifier="wrong")
    assert (wrong.json["error"], wrong.json["error_codes"]) == ("invalid_grant", [501481])
    assert (await post_token(lab, **form, code=first, code_verifier=verifier)).json["error_codes"] == [70008]
    elsewhere = await post_token(
        lab, **{**form, "redirect_uri": "http://localhost/"}, code=await code(), code_verifier=verifier
    )
    assert elsewhere.json["error_codes"] == [70008]
    good = await post_token(lab, **form, code=await code(), code_verifier=verifier)
    assert await works(lab, good.json["access_token"])


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/",
        "javascript:alert(1)",
        "javascript://localhost/%0aalert(1)",
        "https://evil.example\\\\@localhost/x",
        "https://evil.example@localhost/x",
        "http://localhost/a\\nb",
        "http://[",
        "http://localhost/#fragment",
        "",
    ],
)
async def test_nothing_is_sent_elsewhere(lab: Lab, uri: str) -> None:
    """A redirect address that is not on this machine is refused before sign-in."""
    query = urlencode(
        {"client_id": lab.operator.credentials.public_client_id, "response_type": "code", "redirect_uri": uri}
    )
    reply = await Raw(lab, None)("GET", f"/common/oauth2/v2.0/authorize?{query}")
    assert reply.status == 400
    assert "AADSTS50011" in reply.text


async def test_pages_escape_markup(lab: Lab) -> None:
    """Markup in a query is escaped in the page."""
    query = (
        f"client_id={lab.operator.credentials.public_client_id}&response_type=code&redirect_uri=http%3A%2F%2Flocalhost&state="
        + quote('"><script>x</script>')
    )
    assert "<script>x" not in (await Raw(lab, None)("GET", f"/common/oauth2/v2.0/authorize?{query}")).text


def with_certificate(lab: Lab, certificate: x509.Certificate) -> str:
    """Register an application that signs in with a certificate; return its id."""
    made = lab.operator.credentials
    app_id = "aaaaaaaa-2222-4333-8444-555555555555"
    lab.cloud.directory.add_app(
        app_id, made.tenant_id, "certificate app",
        app_roles=["DeviceManagementConfiguration.Read.All"],
        certificates=[certificate.public_bytes(serialization.Encoding.PEM).decode()],
    )  # fmt: skip
    return app_id


@pytest.mark.parametrize("public", [True, False], ids=["PS256 with x5t#S256", "RS256 with x5t"])
async def test_certificate_signs_an_application_in(
    lab: Lab, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate, public: bool
) -> None:
    """MSAL's client assertions are accepted in both forms it has: PS256 by SHA-256, RS256 by SHA-1 thumbprint."""
    credential = {"private_key": to_pem(rsa_key).decode()}
    if public:
        credential["public_certificate"] = certificate.public_bytes(serialization.Encoding.PEM).decode()
    else:
        credential["thumbprint"] = certificate.fingerprint(hashes.SHA1()).hex()
    app_id = with_certificate(lab, certificate)

    def token() -> dict[str, Any]:
        app = msal.ConfidentialClientApplication(
            app_id, credential, authority=lab.authority_url, instance_discovery=False, http_client=http(lab)
        )
        return dict(app.acquire_token_for_client([f"{GRAPH}/.default"]))

    assert await works(lab, (await asyncio.to_thread(token))["access_token"])


@pytest.mark.parametrize("spoil", ["key", "audience", "subject", "expired", "header", "algorithm", "rubbish", "type"])
async def test_bad_assertion_is_refused(
    lab: Lab, rsa_key: rsa.RSAPrivateKey, other_key: rsa.RSAPrivateKey, certificate: x509.Certificate, spoil: str
) -> None:
    """An assertion of another key, for another endpoint or application, too old or unnamed is AADSTS700027."""
    app_id, now = with_certificate(lab, certificate), int(lab.clock.now().timestamp())
    x5t = base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA1())).decode()
    body = {
        "iss": app_id,
        "sub": "another" if spoil == "subject" else app_id,
        "aud": "https://elsewhere" if spoil == "audience" else f"{lab.authority_url}/oauth2/v2.0/token",
        "exp": now - 10 if spoil == "expired" else now + 600,
    }
    headers = {} if spoil == "header" else {"x5t": x5t}
    key: Any = other_key if spoil == "key" else rsa_key
    algorithm = "RS512" if spoil == "algorithm" else "RS256"
    assertion = "rubbish" if spoil == "rubbish" else jwt.encode(body, key, algorithm, headers=headers)
    form = {
        "grant_type": "client_credentials", "client_id": app_id, "scope": f"{GRAPH}/.default",
        "client_assertion_type": "another" if spoil == "type" else ASSERTION_TYPE, "client_assertion": assertion,
    }  # fmt: skip
    reply = await post_token(lab, **form)
    assert (reply.status, reply.json["error"], reply.json["error_codes"]) == (401, "invalid_client", [700027])


async def test_on_behalf_of_exchanges_a_users_token(lab: Lab) -> None:
    """A token for a middle-tier application is exchanged for the user's Graph token; a Graph token is refused."""
    made = lab.operator.credentials
    person = {
        "grant_type": "password",
        "client_id": made.public_client_id,
        "username": made.user_upn,
        "password": made.user_password,
    }
    mine = await post_token(lab, **person, scope=f"api://{made.admin_client_id}/.default")
    form = client_form(
        lab, grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", requested_token_use="on_behalf_of"
    )
    good = await post_token(lab, **form, assertion=mine.json["access_token"])
    assert claims(good.json["access_token"])["upn"] == made.user_upn
    assert await works(lab, good.json["access_token"])
    graphs = await post_token(lab, **person, scope=DELEGATED[0])
    refused = await post_token(lab, **form, assertion=graphs.json["access_token"])
    assert refused.json["error_codes"] == [50013]
    assert not await works(lab, mine.json["access_token"])


async def test_missing_consent_is_reported_and_granted(lab: Lab) -> None:
    """An application without consent gets consent_required; after an administrator's consent it gets its token."""
    made = lab.operator.credentials
    app_id = "bbbbbbbb-2222-4333-8444-555555555555"
    lab.cloud.directory.add_app(app_id, made.tenant_id, "new app", requested_scopes=["User.Read.All"])
    form = {
        "grant_type": "password",
        "client_id": app_id,
        "username": made.user_upn,
        "password": made.user_password,
        "scope": "User.Read.All",
    }
    refused = await post_token(lab, **form)
    assert (refused.json["error_codes"], refused.json["suberror"]) == ([65001], "consent_required")
    page = f"/{made.tenant_id}/adminconsent?client_id={app_id}"
    assert "asks for: User.Read.All" in (await Raw(lab, None)("GET", page)).text
    lab.add_user("plain@pfxlab.example")
    plain = {"username": "plain@pfxlab.example", "password": lab.operator.passwords["plain@pfxlab.example"]}
    assert "administrator must sign in" in (await post_form(lab, page, **plain)).text
    person = {"username": made.operator_upn, "password": made.operator_password}
    assert "administrator must sign in" in (await post_form(lab, page, **person)).text.lower(), (
        "an Intune Administrator"
    )
    operator = lab.cloud.directory.user(made.tenant_id, made.operator_upn)
    assert operator is not None
    lab.cloud.directory.change_user(operator["id"], directory_roles=[GLOBAL_ADMINISTRATOR])
    await post_form(lab, page, **person)
    assert claims((await post_token(lab, **form)).json["access_token"])["scp"] == "User.Read.All"


async def test_tickets_are_kept_as_hashes(lab: Lab) -> None:
    """A refresh token does not stand in the cloud's file."""
    made = lab.operator.credentials
    form = {
        "grant_type": "password",
        "client_id": made.public_client_id,
        "username": made.user_upn,
        "password": made.user_password,
    }
    reply = await post_token(lab, **form, scope=f"{DELEGATED[0]} offline_access")
    lab.cloud.store._db.execute("pragma wal_checkpoint(truncate)")
    assert reply.json["refresh_token"].encode() not in (lab.folder / "cloud" / "cloud.db").read_bytes()
    form = {
        "grant_type": "refresh_token",
        "client_id": made.public_client_id,
        "refresh_token": reply.json["refresh_token"],
    }
    assert await works(lab, (await post_token(lab, **form)).json["access_token"])
    stolen = await post_token(
        lab, **client_form(lab, grant_type="refresh_token", refresh_token=reply.json["refresh_token"])
    )
    assert stolen.json["error_codes"] == [70008]


async def test_consent_needs_an_administrator_and_a_safe_address(tmp_path: Path) -> None:
    """Neither an automatic user without a role nor a redirect to elsewhere grants an application anything."""
    async with new_lab(tmp_path, Config(auto_approve_upn="plain@pfxlab.example")) as lab:
        lab.add_user("plain@pfxlab.example")
        made, app_id = lab.operator.credentials, "bbbbbbbb-2222-4333-8444-555555555555"
        directory = lab.cloud.directory
        directory.add_app(app_id, made.tenant_id, "new app", requested_app_roles=["User.Read.All"])
        page = f"/{made.tenant_id}/adminconsent?client_id={app_id}"
        await Raw(lab, None)("GET", page)
        person = {"username": made.operator_upn, "password": made.operator_password}
        assert (await post_form(lab, f"{page}&redirect_uri=https%3A%2F%2Fevil.example", **person)).status == 400
        app = directory.app(app_id)
        assert app is not None
        assert app.app_roles == ()


async def test_id_token_is_not_an_assertion(lab: Lab) -> None:
    """An id token is refused on behalf of its user, and a token for another resource carries no Graph permission."""
    made = lab.operator.credentials
    person = {
        "grant_type": "password",
        "client_id": made.public_client_id,
        "username": made.user_upn,
        "password": made.user_password,
    }
    answer = await post_token(
        lab,
        **{**person, "client_id": made.admin_client_id, "client_secret": made.admin_client_secret},
        scope=f"{DELEGATED[0]} openid",
    )
    form = client_form(
        lab, grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", requested_token_use="on_behalf_of"
    )
    assert (await post_token(lab, **form, assertion=answer.json["id_token"])).json["error_codes"] == [50013]
    other = await post_token(lab, **client_form(lab, scope=f"api://{made.public_client_id}/.default"))
    assert claims(other.json["access_token"])["roles"] == []


@pytest.mark.parametrize("assertion", ['{"alg":"RS256","x5t":"\u00e9"}', "[" * 100_000])
async def test_odd_assertions_are_refused_in_json(lab: Lab, certificate: x509.Certificate, assertion: str) -> None:
    """A client assertion that is not a JWT is refused with AADSTS700027, not with an internal error."""
    head = base64.urlsafe_b64encode(assertion.encode()).decode()
    reply = await post_token(
        lab,
        grant_type="client_credentials",
        client_id=with_certificate(lab, certificate),
        scope=f"{GRAPH}/.default",
        client_assertion=f"{head}.e30.AAAA",
        client_assertion_type=ASSERTION_TYPE,
    )
    assert reply.json["error_codes"] == [700027]


async def test_invalid_form_is_answered_in_json(lab: Lab) -> None:
    """A body that is not a form is treated as a form without fields."""
    path = f"/{lab.operator.credentials.tenant_id}/oauth2/v2.0"
    for end in ("token", "devicecode"):
        reply = await Raw(lab, None)("POST", f"{path}/{end}", data=b"\xff=\xfe", headers=FORM)
        assert (reply.status, "error" in reply.json) == (400, True)
