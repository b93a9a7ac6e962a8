"""Sign-in as MSAL.NET does it, request by request: an authority on a port, and dates that are texts in its assertion.

Expected values: sources.md#client-assertions, sources.md#sign-in-hosts.
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
import pytest_asyncio
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import new_lab
from tests.emulator.entra.test_entra import post_token
from tests.emulator.entra.test_sign_in_flows import ASSERTION_TYPE, with_certificate

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRAPH = "https://graph.microsoft.com"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Return one lab for all tests of this file."""
    async with new_lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


def assertion_of(
    key: rsa.RSAPrivateKey, certificate: x509.Certificate, client_id: str, audience: str, **dates: Any
) -> str:
    """Return a client assertion: PS256, the certificate named by its SHA-256."""
    x5t = base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
    body = {"aud": audience, "iss": client_id, "sub": client_id, "jti": "a", **dates}
    return jwt.encode(body, key, "PS256", headers={"x5t#S256": x5t})


def form_of(client_id: str, assertion: str) -> dict[str, str]:
    """Return a client credentials request with an assertion."""
    return {
        "grant_type": "client_credentials", "client_id": client_id, "scope": f"{GRAPH}/.default",
        "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion,
    }  # fmt: skip


def in_lab(lab: Lab) -> requests.Session:
    """Return an HTTP client behind the lab's proxy, which every request goes through."""
    session = requests.Session()
    session.trust_env, session.verify = False, str(lab.ca_file)
    session.proxies = {"https": lab.emulator.proxy_url}
    return session


async def test_dotnet_signs_in_at_once(lab: Lab, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
    """Discovery at Microsoft's name on the lab's port, then a token from a region's host: each on the first attempt.

    The two take less than a second of processor time, client and lab together.
    """
    client_id, now = with_certificate(lab, certificate), int(time.time())
    port, tenant = lab.emulator.port, lab.operator.credentials.tenant_id
    microsoft = f"https://login.microsoftonline.com:{port}"
    token_endpoint = f"https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
    dates = {name: str(now + seconds) for name, seconds in (("nbf", 0), ("iat", 0), ("exp", 600))}
    assertion = assertion_of(rsa_key, certificate, client_id, token_endpoint, **dates)

    def sign_in() -> tuple[int, int, str]:
        with in_lab(lab) as http:
            query = {"api-version": "1.1", "authorization_endpoint": f"{lab.authority_url}/oauth2/v2.0/authorize"}
            found = http.get(f"{microsoft}/common/discovery/instance", params=query, timeout=20)
            address = f"https://westeurope.login.microsoft.com/{tenant}/oauth2/v2.0/token"
            answer = http.post(address, data=form_of(client_id, assertion), timeout=20)
            return found.status_code, answer.status_code, answer.text

    begun = time.process_time()
    discovered, status, text = await asyncio.to_thread(sign_in)
    assert (discovered, status) == (200, 200), text
    assert time.process_time() - begun < 1
    assert lab.cloud.journal.entries(party="proxy", outcome="refused") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exp", "soon"),
        ("exp", "1e9"),
        ("exp", "-1"),
        ("exp", ""),
        ("exp", "9" * 5000),
        ("exp", "\u0661\u0662"),
        ("nbf", [1]),
        ("nbf", True),
        ("nbf", "0x10"),
        ("iat", "yesterday"),
        ("iat", {}),
        ("iat", None),
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_other_dates_are_refused(
    lab: Lab, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate, name: str, value: Any
) -> None:
    """A date of an assertion that is neither a number nor a text of digits is AADSTS700027, never an internal error."""
    client_id, now = with_certificate(lab, certificate), int(time.time())
    dates = {"nbf": now, "iat": now, "exp": now + 600, name: value}
    endpoint = f"{lab.authority_url}/oauth2/v2.0/token"
    assertion = assertion_of(rsa_key, certificate, client_id, endpoint, **dates)
    reply = await post_token(lab, **form_of(client_id, assertion))
    assert (reply.status, reply.json["error"], reply.json["error_codes"]) == (401, "invalid_client", [700027])
    entry = lab.cloud.journal.entries(rule="AssertionInvalid")[-1]
    assert name in (entry.reason or "") or "Error" in (entry.reason or "")


@pytest.mark.parametrize("text", [str, int, float], ids=["text", "number", "fraction"])
async def test_dates_are_numbers_or_texts_of_digits(
    lab: Lab, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate, text: Any
) -> None:
    """An assertion is judged by its dates in each form: a valid one is taken, one that has ended is refused."""
    client_id, now = with_certificate(lab, certificate), int(time.time())
    endpoint = f"{lab.authority_url}/oauth2/v2.0/token"
    for seconds, status in ((600, 200), (-600, 401)):
        dates = {"nbf": text(now - 1200), "iat": text(now - 1200), "exp": text(now + seconds)}
        assertion = assertion_of(rsa_key, certificate, client_id, endpoint, **dates)
        assert (await post_token(lab, **form_of(client_id, assertion))).status == status
