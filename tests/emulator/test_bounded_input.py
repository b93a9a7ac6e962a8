"""A running lab beside inputs that would hold it up: it refuses them, and answers others meanwhile.

The watchdog of tests/conftest.py fails each of these tests in which any step of a request takes more than 200 ms of CPU
time.
"""

import asyncio
import json
import plistlib
import ssl
from dataclasses import dataclass

import pytest

from pfxlab.emulator.wire import connector as contract
from pfxlab.emulator.wire.enrollment import APPLE_CHECKIN_PATH, APPLE_SCEP_PATH, OMADM_PATH
from pfxlab.emulator.wire.omadm import mde2
from pfxlab.scenarios.lab.lab import Lab
from tests.emulator.graph.client import PFX
from tests.emulator.raw_wire import RawWire
from tests.wire.test_bounds import HUGE, ITSELF, SHARED

HEALTH = "/lab/v1/health"
JSON = b"Content-Type: application/json"
FORM = b"Content-Type: application/x-www-form-urlencoded"
MILLION = 1_000_000
UPN = "user@pfxlab.example"


@dataclass(frozen=True)
class Attack:
    """One request: to a path of the lab's, by a client of one kind, and the statuses that refuse it."""

    path: str
    body: bytes = b""
    header: bytes = JSON
    method: str = "POST"
    sender: str = "tool"
    statuses: tuple[int, ...] = (400,)


def batch(*urls: str) -> bytes:
    """Return the body of a $batch."""
    requests = [{"id": str(number), "method": "GET", "url": url} for number, url in enumerate(urls)]
    return json.dumps({"requests": requests}).encode()


def query(text: str) -> Attack:
    """Return a GET of users with a $filter."""
    return Attack(f"/beta/users?$filter={text}", method="GET")


ATTACKS = {
    "blanks in a batch": Attack("/beta/$batch", batch(f"/users?$search=a{'%20' * 40_000}b"), statuses=(200, 400)),
    "filters in a batch": Attack("/beta/$batch", batch(*[f"/users?$filter={'(' * 1200}"] * 20), statuses=(200,)),
    "lists in a batch": Attack(
        "/beta/$batch", batch(*[f"/users?$filter=id%20in%20({'1,' * 200}1)"] * 20), statuses=(200,)
    ),
    "path in a filter": query("a/" * 3900 + "a%20eq%201"),
    "open filter": query("(" * 7900),
    "deep JSON": Attack(PFX, b"[" * 5 * MILLION),
    "objects in JSON": Attack(PFX, b'{"a":' * 2_000 + b"1" + b"}" * 2_000),
    "values of JSON": Attack("/beta/$batch", b'{"requests":[' + b"1," * 5 * MILLION + b"1]}"),
    "digits": Attack(PFX, b'{"thumbprint":' + b"9" * 5 * MILLION + b"}"),
    "fields of a form": Attack("/common/oauth2/v2.0/token", b"a&" * 5 * MILLION, FORM),
    "assertion": Attack("/common/oauth2/v2.0/token", b"grant_type=client_credentials&client_assertion=" + b"e.y" * MILLION, FORM),
    "control API": Attack("/lab/v1/seed", b'{"steps":[' + b"1," * 5 * MILLION + b"1]}", sender="lab"),
    "SOAP": Attack(mde2.ENROLLMENT_PATH, b"<a>" + b"<b/>" * MILLION + b"</a>", sender="nobody", statuses=(400, 413, 500)),
    "SCEP": Attack(APPLE_SCEP_PATH + "?operation=PKIOperation", b"\x30\x80" * MILLION, sender="nobody"),
    "SyncML": Attack(OMADM_PATH, b"<a>" + b"<b/>" * (MILLION - 10) + b"</a>", sender="windows", statuses=(200,)),
    "shared plist": Attack(APPLE_CHECKIN_PATH, SHARED, method="PUT", sender="ios"),
    "plist of itself": Attack(APPLE_CHECKIN_PATH, ITSELF, method="PUT", sender="ios"),
    "huge integer": Attack(APPLE_CHECKIN_PATH, HUGE, method="PUT", sender="ios"),
    "XML plist": Attack(APPLE_CHECKIN_PATH, plistlib.dumps([True] * 400_000), method="PUT", sender="ios"),
    "connector": Attack(contract.ENROLL_PATH, b'{"connectorName":[' + b"1," * 5 * MILLION + b"1]}"),
}  # fmt: skip


async def client(lab: Lab, sender: str) -> tuple[ssl.SSLContext, bytes]:
    """Return how a sender connects, and the header it signs in with."""
    plain = RawWire(lab).tls
    if sender in ("windows", "ios"):
        return (await lab.device(sender, UPN)).identity.tls(lab.emulator.tls.ca_pem), b"X-Sender: device"
    if sender == "lab":
        return plain, b"Authorization: Bearer " + lab.emulator.control_token.encode()
    if sender == "nobody":
        return plain, b"X-Sender: none"
    async with lab.graph() as graph:
        return plain, b"Authorization: Bearer " + (await graph.sign_in(lab.admin_form())).encode()


@pytest.mark.parametrize("name", ATTACKS)
async def test_lab_is_healthy_while_it_refuses(name: str, lab: Lab) -> None:
    """Each input is refused, and meanwhile the lab answers whoever asks how it is."""
    attack, raw = ATTACKS[name], RawWire(lab)
    attacker = RawWire(lab)
    attacker.tls, signed = await client(lab, attack.sender)
    refused = asyncio.create_task(attacker(attack.method, attack.path, attack.body, signed, attack.header))
    while not refused.done():
        status, body = await raw("GET", HEALTH)
        assert (status, json.loads(body)["status"]) == (200, "ok")
    assert (await refused)[0] in attack.statuses
    assert not raw.entries("Defect")
