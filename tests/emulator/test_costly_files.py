"""Files that would hold up a running lab: costly PKCS#12 on its devices, YAML that stands for much more."""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import core
from asn1crypto import pkcs12 as asn1
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab import pkcs12_process
from pfxlab.connector_sim.cmdlets import new_user_pfx_certificate
from pfxlab.connector_sim.pfx import Pfx
from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.scenarios.control.bundle import BadBundle, Bundle, pack, scenario_of, unpack
from pfxlab.scenarios.lab import chain
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.mail.authority import export_pfx
from pfxlab.scenarios.scenario.loader import ScenarioProblem, read_scenario
from tests.conftest import self_signed
from tests.costly_pkcs12 import PASSWORD, costly_container, longest_key
from tests.emulator.raw_wire import RawWire
from tests.scenarios.test_bounded_yaml import LAUGHS
from tests.watchdog import WATCHED

UPN = "user@pfxlab.example"
HEALTH = "/lab/v1/health"
SMIME = IntendedPurpose.smimeEncryption


async def healthy_during(lab: Lab, what: str, work: Coroutine[Any, Any, Any]) -> Any:
    """Do work whose steps the watchdog watches, while the lab answers whoever asks how it is."""
    task, raw, asked = asyncio.create_task(work, name=f"{WATCHED}{what}"), RawWire(lab), 0
    while not (task.done() and asked):
        status, body = await raw("GET", HEALTH)
        assert (status, json.loads(body)["status"]) == (200, "ok")
        asked += 1
    return await task


def many_iterations(key: rsa.RSAPrivateKey) -> bytes:
    """Return a container whose certificates ask for just fewer iterations than are refused unread, and no MAC."""
    contents = asn1.Pfx.load(export_pfx("n", key, self_signed(key), PASSWORD)).authenticated_safe
    (encrypted,) = [one for one in contents if one["content_type"].native == "encrypted_data"]
    algorithm = encrypted["content"]["encrypted_content_info"]["content_encryption_algorithm"]
    parameters = algorithm["parameters"]
    if algorithm["algorithm"].native == "pbes2":
        parameters = parameters["key_derivation_func"]["parameters"]
        parameters["iteration_count"] = 4_990_000
    else:
        parameters["iterations"] = 4_990_000
    safe = core.OctetString(asn1.AuthenticatedSafe(list(contents)).dump(force=True))
    return bytes(asn1.Pfx({"version": "v3", "auth_safe": {"content_type": "data", "content": safe}}).dump())


async def deliver(lab: Lab, platform: str, data: bytes, key: rsa.RSAPrivateKey) -> Any:
    """Import a container unopened, and return a device that gets it when it next checks in."""
    await lab.start_connector()
    device = await lab.device(platform, UPN)
    pfx = Pfx(data, self_signed(key), 0)
    record = new_user_pfx_certificate(pfx, PASSWORD, UPN, SMIME, lab.encryption_key(), PaddingScheme.oaepSha512)
    async with lab.graph() as client:
        await client.sign_in(lab.admin_form())
        await client.import_user_pfx_certificate(record)
        await chain.assign_profile(client, platform, SMIME, lab.operator.credentials.group_id)
    await device.check_in()
    assert await chain.wait_for_connector(lab, [device])
    return device


@pytest.mark.parametrize("platform", ["ios", "windows", "androidForWork"])
async def test_lab_is_healthy_while_a_device_gives_up_a_key(
    lab: Lab, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that gives up an RSA-8192 key at the time limit reports a failure; nothing else had to wait for it."""
    device = await deliver(lab, platform, costly_container(), longest_key())
    monkeypatch.setattr(pkcs12_process, "SECONDS", 0.5)
    await healthy_during(lab, f"the check-in of {platform}", device.check_in())
    (delivery,) = chain.deliveries_of(lab, [device])
    assert delivery.state is State.FAILED
    assert device.store.identities() == []


async def test_lab_is_healthy_while_a_device_computes(lab: Lab, rsa_key: rsa.RSAPrivateKey) -> None:
    """A device whose container asks for nearly five million iterations computes them beside the lab."""
    device = await deliver(lab, "windows", many_iterations(rsa_key), rsa_key)
    await healthy_during(lab, "the check-in of windows", device.check_in())
    (delivery,) = chain.deliveries_of(lab, [device])
    assert delivery.state is State.FAILED


async def test_check_in_stops_in_the_midst_of_an_opening(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check-in that is cancelled ends at once, and nothing is reported: the device is offered the same again."""
    device = await deliver(lab, "windows", costly_container(), longest_key())
    begun, ask = threading.Event(), pkcs12_process._Worker.ask

    def noted(worker: Any, request: Any) -> bytes | None:
        begun.set()
        return ask(worker, request)

    monkeypatch.setattr(pkcs12_process._Worker, "ask", noted)
    opening = asyncio.create_task(device.check_in())
    await asyncio.to_thread(begun.wait)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    (delivery,) = chain.deliveries_of(lab, [device])
    assert delivery.state is State.OFFERED


@pytest.mark.campaign
async def test_the_longest_key_is_installed(lab: Lab) -> None:
    """A device that is given the time opens and installs an RSA-8192 key."""
    device = await deliver(lab, "windows", costly_container(), longest_key())
    await healthy_during(lab, "the check-in of windows", device.check_in())
    assert [identity.key.key_size for identity in device.store.identities()] == [8191]


def scenario(folder: Path) -> None:
    """Read a scenario."""
    (folder / "laughs.yaml").write_text(LAUGHS)
    read_scenario(folder / "laughs.yaml")


def bundle(_: Path) -> None:
    """Read the scenario in a bundle."""
    start = {"seed": 7, "scenario": "laughs", "time": "2026-01-01T00:00:00Z"}
    scenario_of(unpack(pack(Bundle("scenario", start, {"outcome": "passed"}, (), scenario=LAUGHS))))


@pytest.mark.parametrize("read", [scenario, bundle])
async def test_lab_is_healthy_while_yaml_is_refused(lab: Lab, tmp_path: Path, read: Callable[[Path], None]) -> None:
    """YAML whose aliases stand for 10^30 values is refused in one short step, in a scenario and in a bundle."""

    async def step() -> None:
        read(tmp_path)

    with pytest.raises((ScenarioProblem, BadBundle), match="aliases for at most 10,000 values"):
        await healthy_during(lab, f"reading a {read.__name__}", step())


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /lab/v1/health HTTP/1.1\r\nHost:",
        b"POST /beta/users HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
    ],
    ids=["nothing", "half a head", "half a body"],
)
async def test_lab_is_healthy_while_connections_ask_for_nothing(lab: Lab, sent: bytes) -> None:
    """Fifty connections that send nothing, or half of something, keep nobody else from an answer."""
    tls = RawWire(lab).tls
    connect = partial(asyncio.open_connection, "127.0.0.1", lab.emulator.port, ssl=tls, server_hostname="localhost")
    writers = [(await connect())[1] for _ in range(50)]
    for writer in writers:
        writer.write(sent)
    await healthy_during(lab, "the connections", asyncio.sleep(0.1))
    for writer in writers:
        writer.transport.abort()
