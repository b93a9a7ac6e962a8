"""Macs, and iPhones of older versions, through the whole chain."""

from datetime import UTC, datetime

import pytest

from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.wire.enums import IntendedPurpose
from pfxlab.scenarios.lab import chain
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.mail.authority import MailAuthority, MailCertificate
from tests.behaviour import behaviour
from tests.end_to_end.test_life import UPN, bring, call, held, settle

CAST = "microsoft.graph.iosImportedPFXCertificateProfile"
ENCRYPTION = IntendedPurpose.smimeEncryption


@pytest.fixture(scope="module")
def history() -> list[MailCertificate]:
    """Return three encryption certificates, the second exported with AES-256, the others with 3DES."""
    return MailAuthority(datetime.now(UTC)).history(UPN)


async def assign(lab: Lab, platform: str) -> str:
    """Return a profile for the lab's mail users."""
    async with lab.graph() as client:
        await client.sign_in(lab.admin_form())
        return await chain.assign_profile(client, platform, ENCRYPTION, lab.operator.credentials.group_id)


@behaviour("profile unassigned", "macOS", "stays", source="removal")
async def test_mac_gets_its_certificates_and_keeps_them(lab: Lab, history: list[MailCertificate]) -> None:
    """A Mac installs the certificate of a macOS profile, keeps it when the profile is unassigned, and Graph shows both."""
    await lab.start_connector()
    mac = await lab.device("macos", UPN)
    profile = await assign(lab, "macos")
    for made in history[:3]:
        await bring(lab, made)
    assert await settle(lab, [mac]) == [State.INSTALLED] * 3
    assert len(held(mac)) == 3
    (row,) = (await call(lab, "GET", f"{chain.PROFILES}/{profile}/deviceStatuses"))["value"]
    assert (row["status"], row["deviceDisplayName"]) == ("compliant", "MacBook of user")
    await call(lab, "POST", f"{chain.PROFILES}/{profile}/assign", {"assignments": []})
    assert await settle(lab, [mac]) == [State.LEFT] * 3
    assert len(held(mac)) == 3
    (row,) = (await call(lab, "GET", f"{chain.PROFILES}/{profile}/deviceStatuses"))["value"]
    assert row["status"] == "notApplicable"


async def test_old_iphone_refuses_a_new_container(lab: Lab, history: list[MailCertificate]) -> None:
    """An iPhone with iOS 16 opens the PFX with 3DES and calls the one with AES-256 a wrong password; a new one opens both."""
    await lab.start_connector()
    old, new = await lab.device("ios", UPN, "16.7"), await lab.device("ios", UPN)
    profile = await assign(lab, "ios")
    for made in history[:2]:
        await bring(lab, made)
    await settle(lab, [old, new])
    ends = {d.reason or "": d.state for d in chain.deliveries_of(lab, [old])}
    assert ends.pop("") is State.INSTALLED
    ((reason, state),) = ends.items()
    assert (state, "MCCertificateErrorDomain 9000" in reason) == (State.FAILED, True)
    rows = (await call(lab, "GET", f"{chain.PROFILES}/{profile}/{CAST}/managedDeviceCertificateStates"))["value"]
    failed = [row for row in rows if row["certificateIssuanceState"] == "installFailed"]
    assert [row["certificateErrorCode"] for row in failed] == [-2016327112]
    assert {row["certificateErrorCode"] for row in rows if row not in failed} == {0}
    assert len(held(old)) == 1
    assert len(held(new)) == 2
