"""Why has this certificate not arrived? Each cause is broken for real, and the explanation names it."""

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from rich.console import Console

from pfxlab.connector_sim.cmdlets import COLLECTION, new_user_pfx_certificate
from pfxlab.connector_sim.keys.software import SoftwareKsp
from pfxlab.connector_sim.pfx import open_pfx
from pfxlab.device_sim.apple.device import AppleDevice
from pfxlab.device_sim.client import Device
from pfxlab.device_sim.identity import MdmIdentity
from pfxlab.device_sim.omadm.android import AndroidDevice
from pfxlab.device_sim.omadm.pfx_cert_install import Behaviour
from pfxlab.device_sim.omadm.windows import WindowsDevice
from pfxlab.device_sim.trouble import Trouble
from pfxlab.emulator.intune import deliveries
from pfxlab.emulator.lab.causes import REMEDIES
from pfxlab.emulator.lab.explain import explain
from pfxlab.emulator.wire.connector import NotRecrypted
from pfxlab.emulator.wire.enums import IntendedPurpose
from pfxlab.emulator.wire.platforms import PLATFORMS
from pfxlab.scenarios.commands.lab.explain_view import path_of
from pfxlab.scenarios.lab import chain
from pfxlab.scenarios.lab.lab import KEY_NAME, Lab
from pfxlab.scenarios.mail.authority import MailCertificate, export_pfx
from pfxlab.scenarios.terminal import print_box
from tests.conftest import KEYS, self_signed
from tests.device_sim.test_odd_certificates import UNREADABLE, odd
from tests.emulator.graph.client import PFX, Raw
from tests.end_to_end.test_life import UPN, bring, call, history
from tests.scenarios.test_terminal import Terminal

__all__ = ["history"]

ENCRYPTION, SIGNING = IntendedPurpose.smimeEncryption, IntendedPurpose.smimeSigning
DEVICES = "/beta/deviceManagement/managedDevices"
History = list[MailCertificate]


def why(lab: Lab, user: str = UPN, device: str | None = None, thumbprint: str | None = None) -> str:
    """Return the code of the only explanation's broken link, or `arrived`."""
    tenant = lab.operator.credentials.tenant_id
    (told,) = explain(lab.cloud, tenant, user, device, thumbprint)
    if told.broken is None:
        assert told.arrived
        return "arrived"
    assert told.links[-1] is told.broken, "nothing is told beyond the first broken link"
    assert told.broken.remedy == REMEDIES[told.broken.code]
    assert told.broken.evidence
    return told.broken.code


async def profile(lab: Lab, platform: str, purpose: IntendedPurpose = ENCRYPTION, **properties: Any) -> str:
    """Create and assign a profile."""
    async with lab.graph() as client:
        await client.sign_in(lab.admin_form())
        made = await chain.assign_profile(client, platform, purpose, lab.operator.credentials.group_id)
        if properties:
            body = {"@odata.type": PLATFORMS[platform].profile_type, **properties}
            await client.call("PATCH", f"{chain.PROFILES}/{made}", body)
        return made


async def assigned(lab: Lab, profile_id: str, *targets: dict[str, str]) -> None:
    """Assign a profile to other targets."""
    body = {"assignments": [{"target": target} for target in targets]}
    await call(lab, "POST", f"{chain.PROFILES}/{profile_id}/assign", body)


def group(group_id: str, kind: str = "groupAssignmentTarget") -> dict[str, str]:
    """Return a target."""
    return {"@odata.type": f"#microsoft.graph.{kind}", "groupId": group_id}


async def worked(lab: Lab, device: Device, rounds: int = 2) -> None:
    """Let a device check in and the connector work."""
    for _ in range(rounds):
        await device.check_in()
        if lab.connector is not None:
            await chain.wait_for_connector(lab, [device])


async def import_raw(lab: Lab, history: History, **changes: Any) -> None:
    """Import the first certificate with something about its record changed."""
    pfx = open_pfx(history[0].pfx, history[0].password)
    record = new_user_pfx_certificate(pfx, history[0].password, UPN, ENCRYPTION, lab.encryption_key())
    await call(lab, "POST", COLLECTION, {**record, **changes})


async def test_everything_in_order(lab: Lab, history: History) -> None:
    """A certificate that has arrived is explained as such, with each link of the chain."""
    await lab.start_connector()
    device = await lab.device("ios", UPN)
    await profile(lab, "ios")
    await bring(lab, history[0])
    await worked(lab, device)
    assert why(lab) == "arrived"
    (told,) = explain(lab.cloud, lab.operator.credentials.tenant_id, UPN)
    assert [link.name for link in told.links] == ["import", "device", "profile", "check-in", "connector", "delivery"]


async def test_imports_and_devices_that_are_not_there(lab: Lab, history: History) -> None:
    """No user, a refused import, no import, a deleted record, no device and another user's device are distinguished."""
    lab.add_user("other@pfxlab.example")
    assert why(lab, "nobody@pfxlab.example") == "UserUnknown"
    assert why(lab) == "NothingImported"
    async with lab.graph() as client:
        admin = Raw(lab, await client.sign_in(lab.admin_form()))
    pfx = open_pfx(history[0].pfx, history[0].password)
    record = new_user_pfx_certificate(pfx, "password", "nobody@pfxlab.example", ENCRYPTION, lab.encryption_key())
    assert (await admin("POST", PFX, record)).status == 400
    assert why(lab, "nobody@pfxlab.example") == "ImportRefused"
    await bring(lab, history[0])
    assert why(lab) == "DeviceUnknown"
    other = await lab.device("ios", "other@pfxlab.example")
    assert why(lab, device=other.identity.device_id) == "DeviceOfAnother"
    lab.cloud.store.run("update devices set user_id = ''")
    assert why(lab, device=other.identity.device_id) == "DeviceWithoutUser"
    (record_id,) = [row["id"] for row in (await call(lab, "GET", COLLECTION))["value"]]
    await call(lab, "DELETE", f"{COLLECTION}/{record_id}")
    assert why(lab, thumbprint=pfx.thumbprint) == "RecordDeleted"


async def test_profiles_that_do_not_reach(lab: Lab, history: History) -> None:
    """No profile, another purpose, no assignment, another group and an excluded group are explained with evidence."""
    await bring(lab, history[0])
    device = await lab.device("windows", UPN)
    await profile(lab, "ios")
    assert why(lab) == "NoProfile"
    await profile(lab, "windows", SIGNING)
    assert why(lab) == "PurposeMismatch"
    made = await profile(lab, "windows")
    assert why(lab) == "NotAskedYet"
    await assigned(lab, made)
    assert why(lab) == "NotAssigned"
    mine = lab.operator.credentials.group_id
    lab.cloud.directory.add_group(
        "00000000-0000-4000-8000-00000000000a", lab.operator.credentials.tenant_id, "g", "2026"
    )
    await assigned(lab, made, group("00000000-0000-4000-8000-00000000000a"))
    assert why(lab) == "NotInGroup"
    everyone = {"@odata.type": "#microsoft.graph.allLicensedUsersAssignmentTarget"}
    await assigned(lab, made, everyone, group(mine, "exclusionGroupAssignmentTarget"))
    assert why(lab) == "Excluded"
    await call(lab, "POST", f"{DEVICES}/{device.identity.device_id}/retire", {})
    assert why(lab) == "DeviceLeaves"


async def test_connectors_that_do_not_work(lab: Lab, history: History) -> None:
    """A missing, silent or busy connector, and work that is done but not fetched, are explained."""
    device = await lab.device("windows", UPN)
    await profile(lab, "windows")
    await bring(lab, history[0])
    await device.check_in()
    assert why(lab) == "NoConnector"
    await lab.start_connector()
    assert lab.connector is not None
    await lab.connector.stop()
    lab.connector = None
    lab.cloud.store.run("update deliveries set state = 'requested', reason = null, payload = null")
    assert why(lab) == "ConnectorBusy"
    lab.cloud.store.run("update connectors set last_connection = '2020-01-01T00:00:00.000000Z'")
    assert why(lab) == "ConnectorInactive"
    await lab.start_connector()
    assert await chain.wait_for_connector(lab, [device])
    assert why(lab) == "NotFetchedYet"
    lab.cloud.store.run("update deliveries set state = 'leased', leased_by = 'c', lease_id = 'l', payload = null")
    assert why(lab) == "ConnectorBusy"


async def _without_key(lab: Lab, _: History) -> dict[str, Any]:
    lab.encryption_key()
    SoftwareKsp(lab.folder / "connector" / "keys").path(KEY_NAME).unlink()
    return {}


async def _with_another_key(lab: Lab, _: History) -> dict[str, Any]:
    lab.encryption_key()
    ksp = SoftwareKsp(lab.folder / "connector" / "keys")
    ksp.path(KEY_NAME).unlink()
    ksp.add(KEY_NAME)
    return {}


async def _with_another_provider(_: Lab, __: History) -> dict[str, Any]:
    return {"providerName": "No such provider"}


async def _with_old_padding(_: Lab, __: History) -> dict[str, Any]:
    return {"paddingScheme": "pkcs1"}


@pytest.mark.parametrize(
    ("breaks", "code"),
    [
        (_without_key, "KeyNotFound"),
        (_with_another_key, "DecryptFailed"),
        (_with_another_provider, "ProviderUnknown"),
        (_with_old_padding, "PaddingUnsupported"),
    ],
)
@pytest.mark.parametrize("attempts", [1, 2])
async def test_connector_that_cannot(
    lab: Lab, history: History, breaks: Callable[[Lab, History], Awaitable[dict[str, Any]]], code: str, attempts: int
) -> None:
    """What the connector lacks is explained after its first attempt and after the last."""
    changes = await breaks(lab, history)
    await lab.start_connector()
    with lab.switched(connector_attempts=attempts):
        device = await lab.device("windows", UPN)
        await profile(lab, "windows")
        await import_raw(lab, history, **changes)
        await device.check_in()
        for _ in range(100):
            if any(d.attempts for d in chain.deliveries_of(lab, [device])):
                break
            await asyncio.sleep(0.05)
        assert why(lab) == code


@pytest.mark.parametrize(
    ("code", "told", "final"),
    [
        ("HsmUnavailable", "HsmUnavailable", True),
        ("PinRefused", "PinRefused", True),
        ("InternalError", "ConnectorFailed", True),
        ("InternalError", "RetryLater", False),
    ],
)
async def test_reasons_of_connectors_are_explained(
    lab: Lab, history: History, code: str, told: str, final: bool
) -> None:
    """The explanation has a connector's reason for a failed request, whether it retries or not."""
    await lab.start_connector()
    assert lab.connector is not None
    await lab.connector.stop()
    lab.connector = None
    device = await lab.device("windows", UPN)
    await profile(lab, "windows")
    await bring(lab, history[0])
    await device.check_in()
    cloud = lab.cloud
    with lab.switched(connector_attempts=1 if final else 3):
        lease, rows = deliveries.lease(cloud, lab.operator.credentials.tenant_id, "c", 10)
        deliveries.complete(cloud, "c", lease, [NotRecrypted(row["id"], code, "why") for row in rows])
    assert why(lab) == told


async def ready(
    lab: Lab, platform: str, history: History, purpose: IntendedPurpose = ENCRYPTION, **more: Any
) -> Device:
    """Return a device whose certificate is prepared and not fetched yet."""
    await lab.start_connector()
    device = await lab.device(platform, UPN)
    await profile(lab, platform, purpose, **more)
    await bring(lab, history[0])
    await worked(lab, device, 1)
    return device


async def test_locked_phone_is_explained(lab: Lab, history: History) -> None:
    """A phone that answered NotNow is explained as busy."""
    device = await ready(lab, "ios", history)
    assert isinstance(device, AppleDevice)
    device.locked = True
    await device.check_in()
    assert why(lab) == "DeviceBusy"


async def test_device_without_a_result_is_explained(
    lab: Lab, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PC that was sent its certificate and has not reported a result is explained."""
    device = await ready(lab, "windows", history)
    assert isinstance(device, WindowsDevice)
    answered = device._answer
    seen: list[Any] = []

    async def once(sent: Any, received: Any) -> Any:
        seen.append(received)
        return None if len(seen) == 2 else await answered(sent, received)

    monkeypatch.setattr(device, "_answer", once)
    await device.check_in()
    assert why(lab) == "NotConfirmedYet"


async def test_signed_out_user_is_explained(lab: Lab, history: History) -> None:
    """A PC that checked in without its user's session, and so requested nothing, is explained."""
    await lab.start_connector()
    device = await lab.device("windows", UPN)
    assert isinstance(device, WindowsDevice)
    device.user_active = False
    await profile(lab, "windows")
    await bring(lab, history[0])
    await worked(lab, device)
    assert why(lab) == "UserNotSignedIn"


async def test_full_device_is_explained(lab: Lab, history: History) -> None:
    """A phone without space for the certificate is explained."""
    device = await ready(lab, "ios", history)
    device.trouble = Trouble.STORAGE_FULL
    await worked(lab, device)
    assert why(lab) == "StorageFull"


@pytest.mark.parametrize(("answer", "code"), [("later", "UserAsked"), ("decline", "UserDeclined")])
async def test_android_user_is_explained(lab: Lab, history: History, answer: Any, code: str) -> None:
    """A pending notification, and a declined one, are explained."""
    device = await ready(lab, "android", history)
    assert isinstance(device, AndroidDevice)
    device.owner.user_answers = answer
    await worked(lab, device)
    assert why(lab) == code


async def test_android_without_lock_is_explained(lab: Lab, history: History) -> None:
    """An agent without access to the key store is explained."""
    device = await ready(lab, "androidForWork", history)
    assert isinstance(device, AndroidDevice)
    device.owner.screen_lock = False
    await worked(lab, device)
    assert why(lab) == "DeviceDenied"


@pytest.mark.parametrize(
    ("provider", "behaviour", "code"),
    [
        ("useTpmKspOtherwiseFail", Behaviour(tpm=False), "NoTpm"),
        ("usePassportForWorkKspOtherwiseFail", Behaviour(), "KeyStorageRefused"),
    ],
)
async def test_key_storage_is_explained(
    lab: Lab, history: History, provider: str, behaviour: Behaviour, code: str
) -> None:
    """A PC without the TPM or Hello container that its profile requires is explained."""
    device = await ready(lab, "windows", history, keyStorageProvider=provider)
    assert isinstance(device, WindowsDevice)
    device.csp.behaviour = behaviour
    await worked(lab, device)
    assert why(lab) == code


async def test_chain_on_an_iphone_is_explained(lab: Lab, history: History) -> None:
    """A PFX with its chain on an iPhone is explained, with the error number that the portal shows."""
    await lab.start_connector()
    device = await lab.device("ios", UPN)
    await profile(lab, "ios")
    key, leaf, _ = pkcs12.load_key_and_certificates(history[0].pfx, history[0].password.encode())
    encryption = serialization.BestAvailableEncryption(b"password")
    ca = self_signed(lab.connector_key()._key)
    data = pkcs12.serialize_key_and_certificates(b"n", key, leaf, [ca], encryption)  # type: ignore[arg-type]
    pfx = open_pfx(data, "password")
    record = new_user_pfx_certificate(pfx, "password", UPN, ENCRYPTION, lab.encryption_key())
    await call(lab, "POST", COLLECTION, record)
    await worked(lab, device)
    assert why(lab) == "TooManyCertificates"
    (told,) = explain(lab.cloud, lab.operator.credentials.tenant_id, UPN)
    assert "portal: -2016327111" in told.links[-1].evidence


async def _wrong_password(lab: Lab, history: History) -> dict[str, Any]:
    pfx = open_pfx(history[0].pfx, history[0].password)
    return new_user_pfx_certificate(pfx, "wrong", UPN, ENCRYPTION, lab.encryption_key())


async def _no_pfx(_: Lab, __: History) -> dict[str, Any]:
    return {"encryptedPfxBlob": base64.b64encode(b"no PFX at all").decode()}


async def _in_year_0(_: Lab, history: History) -> dict[str, Any]:
    value = UNREADABLE["not before in year 0"][1]
    key = KEYS()
    pfx = export_pfx("n", key, odd(key, "validity", value), history[0].password)
    return {"encryptedPfxBlob": base64.b64encode(pfx).decode()}


async def _another_thumbprint(_: Lab, __: History) -> dict[str, Any]:
    return {"thumbprint": "ab" * 20}


@pytest.mark.parametrize("platform", ["windows", "ios"])
@pytest.mark.parametrize(
    ("breaks", "code"),
    [
        (_wrong_password, "WrongPassword"),
        (_no_pfx, "NotAPfx"),
        (_in_year_0, "NotAPfx"),
        (_another_thumbprint, "AnotherCertificate"),
    ],
)
async def test_wrong_imports_are_explained(
    lab: Lab, history: History, platform: str, breaks: Callable[[Lab, History], Awaitable[dict[str, Any]]], code: str
) -> None:
    """A wrong password, a blob that is not a PFX or of the year 0, and a wrong thumbprint fail on the device and are explained."""
    await lab.start_connector()
    device = await lab.device(platform, UPN)
    await profile(lab, platform)
    await import_raw(lab, history, **await breaks(lab, history))
    await worked(lab, device)
    assert why(lab) == code


@pytest.mark.parametrize("platform", ["windows", "ios"])
async def test_changed_key_is_explained(lab: Lab, history: History, platform: str) -> None:
    """A device that lost its key cannot decrypt its delivery, which is explained."""
    device = await ready(lab, platform, history)
    stranger = MdmIdentity(device.identity.device_id, device.identity.certificate, lab.connector_key()._key)
    device._tls = device.identity.tls(lab.emulator.tls.ca_pem)
    device.enrolled = device.enrolled.with_identity(stranger)
    if not isinstance(device, AppleDevice):
        device.csp.identity = stranger
    await worked(lab, device, 1)
    assert why(lab) == "EncryptedForAnotherKey"


async def test_other_refusals_are_explained(lab: Lab, history: History) -> None:
    """Any other refusal is explained with the device's own message."""
    device = await ready(lab, "ios", history)
    assert isinstance(device, AppleDevice)
    device.enrolled = replace(device.enrolled, management=replace(device.enrolled.management, access_rights=1))
    await worked(lab, device)
    assert why(lab) == "DeviceRefused"
    (told,) = explain(lab.cloud, lab.operator.credentials.tenant_id, UPN)
    assert "12007" in told.links[-1].evidence


async def test_certificates_no_longer_wanted_are_explained(lab: Lab, history: History) -> None:
    """A superseded certificate, one being removed, and one left on the device are explained."""
    await lab.start_connector()
    device = await lab.device("windows", UPN)
    made = await profile(lab, "windows")
    with lab.switched(deliver="latest"):
        await bring(lab, history[0])
        await worked(lab, device)
        old = open_pfx(history[0].pfx, history[0].password).thumbprint
        new = open_pfx(history[1].pfx, history[1].password).thumbprint
        await bring(lab, history[1])
        assert why(lab, thumbprint=old) == "BeingRemoved"
        await worked(lab, device)
        assert (why(lab, thumbprint=old), why(lab, thumbprint=new)) == ("NewerStandsIn", "arrived")
        await assigned(lab, made)
        assert why(lab, thumbprint=new) == "LeftThere"


def test_every_cause_is_tested() -> None:
    """Each code that has a remedy is broken by a test here or beside it, and no test expects another."""
    here = Path(__file__)
    others = [here.with_name(name) for name in ("test_damaged_entries.py", "test_explain_interfaces.py")]
    others.append(here.parents[1] / "emulator" / "graph" / "intune" / "test_filtered_delivery.py")
    text = "".join(file.read_text("utf-8") for file in (here, *others))
    assert [code for code in REMEDIES if f'"{code}"' not in text] == []


async def test_refusal_of_another_is_not_mine(lab: Lab, history: History) -> None:
    """An import that was refused for one user does not explain why another has nothing."""
    async with lab.graph() as client:
        admin = Raw(lab, await client.sign_in(lab.admin_form()))
    pfx = open_pfx(history[0].pfx, history[0].password)
    record = new_user_pfx_certificate(pfx, "canary-4711", "nobody@pfxlab.example", ENCRYPTION, lab.encryption_key())
    assert (await admin("POST", PFX, record)).status == 400
    assert why(lab) == "NothingImported"
    (told,) = explain(lab.cloud, lab.operator.credentials.tenant_id, "nobody@pfxlab.example")
    text = json.dumps(told.to_json())
    assert "UserUnknown" in text
    assert record["encryptedPfxPassword"] not in text
    assert record["encryptedPfxBlob"] not in text


async def test_readme_shows_an_explanation(lab: Lab, history: History) -> None:
    """The guide's explanation is the command's output, except for ids and thumbprints."""
    await lab.device("ios", UPN)
    await bring(lab, history[0])
    await profile(lab, "ios", IntendedPurpose.vpn)
    (told,) = explain(lab.cloud, lab.operator.credentials.tenant_id, UPN)
    screen = Terminal()
    print_box(Console(width=112, highlight=False, file=screen, color_system=None), path_of(told.to_json()))

    def masked(text: str) -> list[str]:
        return [re.sub(r"\x1b\[\d*m", "", re.sub(r"[0-9a-f-]{16,}", "#", line)).strip() for line in text.splitlines()]

    readme = (Path(__file__).parents[2] / "docs" / "where-a-chain-breaks.md").read_text("utf-8")
    shown = masked(screen.getvalue())
    assert "\n".join(shown) in "\n".join(masked(readme))
