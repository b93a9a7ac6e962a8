"""Mdm-Signature: beside the identity in TLS or in its place, and never twice."""

import base64
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pfxlab.device_sim.apple.device import AppleDevice
from pfxlab.emulator.faults.plan import read_fault
from pfxlab.emulator.wire.apple import mdm
from pfxlab.emulator.wire.enrollment import APPLE_COMMAND_PATH
from pfxlab.scenarios.lab.lab import Lab
from tests.behaviour import behaviour
from tests.emulator.intune.test_enrollment import UPN, client, hardware, openssl, raw_bytes, token


@behaviour("signed messages", "iOS", "Mdm-Signature on every message when the profile says so", source="apple-check-in")
async def test_mdm_signature(lab: Lab) -> None:
    """A signature takes the place of the TLS identity with sign_message at `alone` only, and counts once in an hour."""
    body = mdm.serialize({"Status": "Idle", "UDID": "UDID-1"})

    async def put(data: bytes, signature: str) -> int:
        return (await raw_bytes(lab, APPLE_COMMAND_PATH, data, "PUT", {"Mdm-Signature": signature}))[0]

    with lab.switched(sign_message="on"):
        made = await client(lab).enroll(None, await token(lab), UPN, hardware("ios"))
        assert isinstance(made, AppleDevice)
        assert made.enrolled.management.sign_message
        assert [await made.check_in(), await made.check_in()] == [1, 1]
        assert await put(body, made._signature(body)) == 401
    assert await put(body, made._signature(body)) == 401
    with lab.switched(sign_message="alone"):
        once = made._signature(body)
        assert [await put(body, once), await put(body, once), await put(body, made._signature(body))] == [200, 400, 200]
        assert await put(body + b" ", made._signature(body)) == 401
        assert await put(body, "*") == 401
        lab.clock.advance(timedelta(minutes=61))
        assert await put(body, once) == 200
    reasons = {entry.reason for entry in lab.cloud.journal.entries() if entry.event == "Mdm-Signature refused"}
    assert "expected the identity of the signer in TLS, got a signature alone" in reasons
    assert "expected a new signature, got one that was there within the hour" in reasons


async def test_signature_must_be_of_the_identity_in_tls(lab: Lab) -> None:
    """A device that shows its own identity in TLS cannot speak for another by that one's signature."""
    maker = client(lab)
    one = await maker.enroll(None, await token(lab), UPN, hardware("ios"))
    other = await maker.enroll(None, await token(lab), UPN, replace(hardware("ios"), udid="UDID-2", serial_number="S2"))
    assert isinstance(one, AppleDevice)
    body = mdm.serialize({"Status": "Idle", "UDID": "UDID-1"})
    for switch in ("off", "on", "alone"):
        with lab.switched(sign_message=switch):
            async with aiohttp.ClientSession(lab.emulator.origin) as http:
                statuses = []
                for device in (other, one):
                    headers = {"Mdm-Signature": one._signature(body)}
                    tls = device.identity.tls(lab.emulator.tls.ca_pem)
                    async with http.put(APPLE_COMMAND_PATH, data=body, headers=headers, ssl=tls) as answer:
                        statuses.append(answer.status)
        assert statuses == [401, 200], switch


async def test_lost_message_is_signed_anew(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is sent again, since its connection broke, has a signature of its own."""
    with lab.switched(sign_message="on"):
        made = await client(lab).enroll(None, await token(lab), UPN, hardware("ios"))
    assert isinstance(made, AppleDevice)
    own, signatures = made._signature, []

    def noted(data: bytes) -> str:
        signatures.append(own(data))
        return signatures[-1]

    monkeypatch.setattr(made, "_signature", noted)
    lab.cloud.faults.add(read_fault({"kind": "lost_answer", "times": 1}))
    assert await made.check_in() >= 1
    assert len(set(signatures)) == len(signatures) >= 2


async def test_openssl_verifies_mdm_signature(lab: Lab, tmp_path: Path) -> None:
    """OpenSSL verifies a device's Mdm-Signature over the body against the device CA."""
    made = await client(lab).enroll(None, await token(lab), UPN, hardware("ios"))
    assert isinstance(made, AppleDevice)
    body, ca = tmp_path / "body", tmp_path / "ca.pem"
    body.write_bytes(mdm.serialize({"Status": "Idle"}))
    ca.write_bytes(lab.cloud.device_ca.certificate.public_bytes(Encoding.PEM))
    der = base64.b64decode(made._signature(body.read_bytes()))
    checks = ("-CAfile", str(ca), "-purpose", "any", "-content", str(body))
    assert openssl("cms", "-verify", "-inform", "DER", "-binary", *checks, data=der) == body.read_bytes()
