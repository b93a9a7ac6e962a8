"""Failures around a connector, one test each: it reports why, survives, and delivers once the cause is gone."""

import asyncio
import errno
import os
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aiohttp
import pytest
from aiohttp import web

from pfxlab.connector_sim import identity
from pfxlab.connector_sim.errors import ServiceRefused
from pfxlab.connector_sim.eventlog import HEALTH_UPLOAD_SUCCESS, UPLOAD_SUCCESS, Event
from pfxlab.connector_sim.keys import cng
from pfxlab.connector_sim.keys.provider import Providers
from pfxlab.connector_sim.keys.software import SoftwareKsp
from pfxlab.connector_sim.service import Connector, Settings, enroll, post
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.tls import ServerTls
from pfxlab.emulator.wire import connector as contract
from pfxlab.emulator.wire import jsontext
from pfxlab.emulator.wire.enums import PaddingScheme
from pfxlab.scenarios.lab.lab import KEY_NAME, Lab
from pfxlab.scenarios.load.drive.material import Material, queue_up
from tests.connector_sim import softhsm
from tests.emulator.graph.client import PFX, admin, record

COUNT = 40
LEASE = "0f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0"


@pytest.fixture(scope="module")
def material() -> Material:
    """Return keys and device certificates."""
    return Material()


def states(lab: Lab) -> dict[str, int]:
    """Return how many deliveries are in which state."""
    rows = lab.cloud.store.rows("select state, count(*) as number from deliveries group by state")
    return {row["state"]: row["number"] for row in rows}


def reasons(lab: Lab) -> set[str]:
    """Return the codes by which deliveries failed to become ready."""
    rows = lab.cloud.store.rows("select distinct reason from deliveries where reason is not null")
    return {str(row["reason"]).partition(":")[0] for row in rows}


async def until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Wait for something; the limit is for a defect, not for a slow machine."""
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("waited in vain")


async def working(lab: Lab, material: Material, change: Callable[[Lab], None] = lambda _: None) -> None:
    """Fill a lab's queue, change something about it, and start its connector."""
    queue_up(lab, material, material.ciphertexts(COUNT), users=5)
    change(lab)
    await lab.start_connector()


@pytest.fixture
async def lab(tmp_path: Path, material: Material) -> Any:
    """Return a running lab that retries at once, whose connector has the material's key."""
    SoftwareKsp(tmp_path / "lab" / "connector" / "keys").store(KEY_NAME, material.key)
    async with Lab(tmp_path / "lab") as running:
        with running.switched(connector_retry_seconds=0):
            yield running


def column(name: str, value: Any) -> Callable[[Lab], None]:
    """Return a change of a column of every imported record."""

    def change(lab: Lab) -> None:
        lab.cloud.store.run(f"update pfx_certificates set {name} = ?", (value,))  # noqa: S608 - names are ours

    return change


def devices(value: bytes) -> Callable[[Lab], None]:
    """Return a change of every device's certificate."""

    def change(lab: Lab) -> None:
        lab.cloud.store.run("update devices set certificate = ?", (value,))

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (column("key_name", "Absent"), "KeyNotFound"),
        (column("key_name", "K" * 2500), "KeyNotFound"),
        (column("provider_name", "Misspelt Provider"), "ProviderUnknown"),
        (column("padding_scheme", int(PaddingScheme.oaepSha256)), "DecryptFailed"),
        (column("padding_scheme", int(PaddingScheme.pkcs1)), "PaddingUnsupported"),
        (column("encrypted_pfx_password", "AAAA" * 86), "DecryptFailed"),
        (column("encrypted_pfx_password", "not base64!"), "PasswordNotBase64"),
        (devices(b"no certificate"), "RecipientUnusable"),
    ],
)
async def test_poison_ends_as_failed_with_its_reason(lab: Lab, material: Material, change: Any, code: str) -> None:
    """A request that can never succeed fails after its attempts with the stable code, and delays no other."""
    await working(lab, material, change)
    await until(lambda: states(lab) == {"failed": COUNT})
    assert reasons(lab) == {code}
    with lab.switched():
        queue_again = material.ciphertexts(COUNT + 1)[COUNT:]
        queue_up(lab, material, queue_again, users=1, first=COUNT)
    await until(
        lambda: states(lab).get("ready", 0) == (0 if code == "RecipientUnusable" else 1) or code == "RecipientUnusable"
    )


async def test_key_file_without_access_is_reported(lab: Lab, material: Material) -> None:
    """A key that the service account may not read has its own reason."""
    path = lab.ksp.path(KEY_NAME)
    if os.geteuid() == 0:
        # Root may read every file, but no folder as one.
        path.unlink()
        path.mkdir()
    else:
        path.chmod(0)
    lab.ksp._opened.clear()
    await working(lab, material)
    await until(lambda: states(lab) == {"failed": COUNT})
    assert reasons(lab) == {"KeyStoreError"}


async def test_expired_device_certificate_is_encrypted_to(lab: Lab, material: Material) -> None:
    """Like .NET's EnvelopedCms, the connector ignores the validity of a device's certificate."""
    lab.clock.advance(timedelta(days=60))
    await working(lab, material)
    await until(lambda: states(lab) == {"ready": COUNT})


@pytest.mark.skipif(softhsm.missing, reason="needs Debian's softhsm2")
async def test_token_away_fails_attempts_and_back_delivers(lab: Lab, material: Material, tmp_path: Path) -> None:
    """While the HSM's token is away attempts fail as HsmUnavailable; when it is back the same requests are delivered."""
    with softhsm.token(tmp_path / "hsm") as token:
        hsm = softhsm.provider(token)
        hsm.store(KEY_NAME, material.key)
        queue_up(lab, material, material.ciphertexts(COUNT), users=5)
        column("provider_name", softhsm.NAME)(lab)
        await lab.start_connector()
        assert lab.connector is not None
        await lab.connector.stop()
        who = identity.find(lab.folder / "connector")
        assert who is not None
        tokens = token.pin_file.parent / "tokens"
        tokens.rename(tokens.with_name("gone"))
        tokens.mkdir()
        connector = Connector(Settings(lab.emulator.origin, lab.ca_file, wait_seconds=1), who, Providers([hsm]),
                              lab.clock, lab.connector_events.append)  # fmt: skip
        with lab.switched(connector_attempts=1000, connector_retry_seconds=0.2):
            await connector.start()
            await until(lambda: reasons(lab) == {"HsmUnavailable"})
            tokens.rmdir()
            tokens.with_name("gone").rename(tokens)
            await until(lambda: states(lab) == {"ready": COUNT})
            await connector.stop()


async def test_disk_full_loses_nothing(lab: Lab, material: Material) -> None:
    """With a full disk imports get 507 and results are refused; with space again, all acknowledged work is there."""
    cloud = lab.cloud
    graph = await admin(lab)
    assert (await graph("POST", PFX, record(lab, thumbprint="aa" * 20))).status == 201
    queue_up(lab, material, material.ciphertexts(COUNT), users=5)
    pages = cloud.store.scalar("pragma page_count")
    cloud.store.row(f"pragma max_page_count = {pages}")
    big = record(lab, thumbprint="bb" * 20, encryptedPfxBlob="MAAA" * 50_000)
    reply = await graph("POST", PFX, big)
    assert (reply.status, reply.code) == (507, "InsufficientStorage")
    await lab.start_connector()
    await until(lambda: any("StorageFull" in event.text or "507" in event.text for event in lab.connector_events))
    assert (await graph("GET", f"{PFX}/$count")).text == str(COUNT + 1)
    cloud.store.row("pragma max_page_count = 1073741823")
    assert (await graph("POST", PFX, big)).status == 201
    await until(lambda: states(lab) == {"ready": COUNT})
    assert cloud.journal.entries(rule="StorageFull")


async def test_clock_may_jump_both_ways(lab: Lab, material: Material) -> None:
    """When the clock moves a day forward and back while a connector works, it delivers everything and heartbeats go on."""
    await working(lab, material)
    lab.clock.advance(timedelta(days=1))
    await until(lambda: states(lab) == {"ready": COUNT})
    lab.clock.freeze(lab.clock.now() - timedelta(days=2))
    queue_up(lab, material, material.ciphertexts(COUNT + 5)[COUNT:], users=5, first=COUNT)
    await until(lambda: states(lab) == {"ready": COUNT + 5})


async def test_sleeper_is_not_held_by_a_clock_set_back() -> None:
    """A wait of a tenth of a second ends on time, although the clock is set back an hour meanwhile."""
    clock = LabClock()
    sleeper = asyncio.create_task(clock.sleep(0.1))
    await asyncio.sleep(0.02)
    clock._offset -= timedelta(hours=1)
    await asyncio.wait_for(sleeper, 600)


BAD = [
    (503, b"busy"),
    (429, b'{"error": {"code": "TooManyRequests", "message": "later"}}'),
    (200, b"garbage"),
    (200, b'{"leaseId": null, "leaseSeconds": 1}'),
    (200, b'{"leaseId": "' + LEASE.encode() + b'", "leaseSeconds": 1, "items": [{"requestId": "x"}]}'),
    (200, b'{"leaseId": null, "leaseSecon'),
    (500, b""),
]


async def test_strange_answers_are_survived(material: Material, lab: Lab, tmp_path: Path) -> None:
    """503, 429, garbage, truncated and contract-breaking answers are logged, paused for, and the next good lease is worked on."""
    await lab.start_connector()
    assert lab.connector is not None
    await lab.connector.stop()
    who = identity.find(lab.folder / "connector")
    assert who is not None
    answers, completed = list(BAD), asyncio.Event()
    (ciphertext,) = material.ciphertexts(1)
    item = contract.PasswordRecryption(
        LEASE, lab.ksp.name, KEY_NAME, PaddingScheme.oaepSha512, ciphertext, material.devices[0], "t"
    )

    async def answer(request: web.Request) -> web.Response:
        if request.path == contract.HEARTBEAT_PATH:
            return web.json_response({"versionStatus": "active", "latestVersion": "6"})
        if request.path == contract.COMPLETE_PATH:
            done = contract.read_completion(await request.read())
            assert isinstance(done.results[0], contract.Recrypted)
            completed.set()
            told = [{"requestId": LEASE, "outcome": "accepted", "final": False}]
            return web.json_response({"results": told})
        if answers:
            status, body = answers.pop(0)
            return web.Response(status=status, body=body, content_type="application/json")
        if completed.is_set():
            return web.Response(body=contract.write_work(None, 1, []), content_type="application/json")
        return web.Response(body=contract.write_work(LEASE, 60, [item]), content_type="application/json")

    tls = ServerTls()
    (tmp_path / "ca.pem").write_bytes(tls.ca_pem)
    app = web.Application()
    app.router.add_post("/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    context = tls.server_context([])
    context.verify_mode = ssl.CERT_NONE
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    events: list[Event] = []
    settings = Settings(f"https://localhost:{runner.addresses[0][1]}", tmp_path / "ca.pem", slots=1, poll_seconds=0.05)
    connector = Connector(settings, who, Providers([lab.ksp]), LabClock(), events.append)
    await connector.start()
    await asyncio.wait_for(completed.wait(), 15)
    await until(lambda: any(event.id == 2000 for event in events))
    await connector.stop()
    await runner.cleanup()
    assert sum(event.id == 2203 for event in events) == len(BAD)
    assert not [event for event in events if "password" in f"{dict(event.fields)} {event.text}"]


async def test_bulk_of_one_does_not_keep_another_waiting(lab: Lab, material: Material) -> None:
    """Of two users, one with many requests and one with a single one, both are in the first lease."""
    queue_up(lab, material, material.ciphertexts(COUNT), users=1)
    queue_up(lab, material, material.ciphertexts(COUNT + 1)[COUNT:], users=1, first=COUNT, named="zz")
    rows, last = lab.cloud.deliveries.due(lab.operator.credentials.tenant_id, lab.clock.now(), 10, "")
    assert {row["user_id"] for row in rows} == {"u0", "zz0"}
    rows, _ = lab.cloud.deliveries.due(lab.operator.credentials.tenant_id, lab.clock.now(), 1, "u0")
    assert [row["user_id"] for row in rows] == ["zz0"]
    assert last in ("u0", "zz0")


async def test_certificate_is_renewed_in_time_and_the_old_one_dies(lab: Lab) -> None:
    """Weeks before its end the client certificate is renewed while working; after the first use of the new one the old is refused."""
    await lab.start_connector()
    assert lab.connector is not None
    first = identity.find(lab.folder / "connector")
    assert first is not None
    old = (lab.folder / "old.pem", first.path.read_bytes())
    old[0].write_bytes(old[1])
    lab.clock.advance(first.ends - lab.clock.now() - timedelta(days=10))
    await until(lambda: (identity.find(lab.folder / "connector") or first).ends > first.ends)
    lab.clock.advance(timedelta(minutes=2))
    await until(lambda: lab.cloud.connectors.of_tenant(lab.operator.credentials.tenant_id)[0].next_thumbprint is None)
    events: list[Event] = []
    stale = Connector(Settings(lab.emulator.origin, lab.ca_file), replace(first, path=old[0]), Providers([lab.ksp]),
                      lab.clock, events.append)  # fmt: skip
    await stale.start()
    await until(lambda: any("UnknownConnector" in event.text for event in events))
    await stale.stop()


async def test_outbound_proxy_is_used(lab: Lab, material: Material) -> None:
    """A connector with an outbound proxy reaches the service only through it, with mutual TLS."""
    tunnels: list[str] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        tunnels.append(head.split()[1])
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", lab.emulator.port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while piece := await source.read(65536):
                sink.write(piece)
            sink.close()

        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer), return_exceptions=True)

    proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    made = lab.operator.credentials
    token = await lab.user_token(made.operator_upn, made.operator_password)
    settings = Settings(lab.emulator.origin, lab.ca_file, proxy=address, wait_seconds=1)
    who = await enroll(settings, token, lab.folder / "proxied", "proxied", "PROXIED")
    queue_up(lab, material, material.ciphertexts(COUNT), users=5)
    connector = Connector(settings, who, Providers([lab.ksp]), lab.clock, lab.connector_events.append)
    await connector.start()
    await until(lambda: states(lab) == {"ready": COUNT})
    await connector.stop()
    proxy.close()
    assert set(tunnels) == {lab.emulator.origin.removeprefix("https://")}
    await asyncio.sleep(0.1)


async def test_keys_move_to_the_next_connector(lab: Lab, material: Material, tmp_path: Path) -> None:
    """After the key moved as a CNG blob to a second connector and the first is gone, waiting requests are delivered."""
    second = SoftwareKsp(tmp_path / "second" / "keys")
    second.store(KEY_NAME, cng.load_private(cng.private_blob(material.key)))
    await working(lab, material)
    await until(lambda: states(lab) == {"ready": COUNT})
    assert lab.connector is not None
    await lab.connector.stop()
    made = lab.operator.credentials
    token = await lab.user_token(made.operator_upn, made.operator_password)
    settings = Settings(lab.emulator.origin, lab.ca_file, wait_seconds=1)
    who = await enroll(settings, token, tmp_path / "second", "second", "SECOND")
    connector = Connector(settings, who, Providers([second]), lab.clock, lab.connector_events.append)
    await connector.start()
    queue_up(lab, material, material.ciphertexts(2 * COUNT)[COUNT:], users=5, first=COUNT)
    await until(lambda: states(lab) == {"ready": 2 * COUNT})
    await connector.stop()


async def test_one_connector_for_each_tenant_by_switch(lab: Lab, tmp_path: Path) -> None:
    """With the switch of the document of 2020 a second connector is refused, without it both are at work."""
    await lab.start_connector()
    made = lab.operator.credentials
    token = await lab.user_token(made.operator_upn, made.operator_password)
    settings = Settings(lab.emulator.origin, lab.ca_file)
    with lab.switched(connectors_per_tenant=1), pytest.raises(ServiceRefused, match="TooManyConnectors"):
        await enroll(settings, token, tmp_path / "second", "second", "SECOND")
    await enroll(settings, token, tmp_path / "second", "second", "SECOND")
    assert len(lab.cloud.connectors.of_tenant(made.tenant_id)) == 2


async def test_results_larger_than_a_message_go_in_several(lab: Lab, material: Material) -> None:
    """Apple payloads that together exceed the service's message size are all delivered."""
    queue_up(lab, material, material.ciphertexts(COUNT), users=5)
    store = lab.cloud.store
    store.run("update devices set platform = 'ios'")
    store.run("update pfx_certificates set encrypted_pfx_blob = zeroblob(400000)")
    await lab.start_connector()
    await until(lambda: states(lab) == {"ready": COUNT})
    uploads = [event for event in lab.connector_events if event.id == UPLOAD_SUCCESS]
    assert len(uploads) > 1


async def test_long_poll_of_a_deleted_connector_ends(lab: Lab) -> None:
    """A long poll ends at once when its connector is deleted, and the connector gets no later requests."""
    made = lab.operator.credentials
    token = await lab.user_token(made.operator_upn, made.operator_password)
    settings = Settings(lab.emulator.origin, lab.ca_file, wait_seconds=30)
    who = await enroll(settings, token, lab.folder / "waiting", "waiting", "WAITING")
    asked = jsontext.encode({"max": 1, "waitSeconds": 30})
    async with aiohttp.ClientSession(lab.emulator.origin) as session:
        waiting = asyncio.create_task(post(session, contract.LEASE_PATH, asked, who.tls(lab.ca_file), None))
        await asyncio.sleep(0.3)
        lab.cloud.connectors.remove(who.connector_id)
        with pytest.raises(ServiceRefused, match="UnknownConnector"):
            await asyncio.wait_for(waiting, 25)


async def test_message_too_large_is_refused(lab: Lab) -> None:
    """A message over the service's size limit is refused with its size, in the contract's form."""
    made = lab.operator.credentials
    token = await lab.user_token(made.operator_upn, made.operator_password)
    who = await enroll(Settings(lab.emulator.origin, lab.ca_file), token, lab.folder / "large", "large", "LARGE")
    async with aiohttp.ClientSession(lab.emulator.origin) as session:
        big = b" " * (contract.LARGEST_BODY + 1)
        with pytest.raises(ServiceRefused, match="BodyTooLarge") as refused:
            await post(session, contract.COMPLETE_PATH, big, who.tls(lab.ca_file), None)
    assert refused.value.reason == "BodyTooLarge"


async def test_farewell_without_an_answer_is_given_up(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connector that stops while the service hangs ends quickly, and its log says that the service did not answer."""
    monkeypatch.setattr("pfxlab.connector_sim.service._FAREWELL_SECONDS", 0.2)
    await lab.start_connector()
    connector = lab.connector
    assert connector is not None
    await until(lambda: any(event.id == HEALTH_UPLOAD_SUCCESS for event in lab.connector_events))

    async def never(*_: Any) -> bytes:
        await asyncio.sleep(3600)
        return b""

    monkeypatch.setattr("pfxlab.connector_sim.service.post", never)
    await asyncio.wait_for(connector.stop(), 10)
    assert lab.connector_events[-1].text == "stopped; the service did not answer its last heartbeat"


class FullDisk(deque[Event]):
    """An event log on a full disk."""

    def append(self, _event: Event) -> None:
        """Fail as a write does."""
        raise OSError(errno.ENOSPC, "No space left on device")


async def test_event_log_without_room_stops_no_work(lab: Lab, material: Material) -> None:
    """When no event can be written the connector still does all its work."""
    lab.connector_events = FullDisk()
    await working(lab, material)
    await until(lambda: states(lab) == {"ready": COUNT})


async def test_proxy_password_is_not_logged() -> None:
    """A proxy address that cannot be read is refused without the password in it."""
    async with aiohttp.ClientSession("https://127.0.0.1:9") as session:
        with pytest.raises(ServiceRefused) as refused:
            await post(session, "/x", b"{}", ssl.create_default_context(), "user:canary-proxy@127.0.0.1:9")
    assert "canary" not in str(refused.value)


async def test_heart_beats_on_after_a_renewal_that_could_not_be_written(lab: Lab) -> None:
    """When the renewed certificate cannot be stored, the next heartbeat renews it again."""
    await lab.start_connector()
    first = identity.find(lab.folder / "connector")
    assert first is not None
    with patch.object(identity, "save", side_effect=OSError(errno.ENOSPC, "No space left on device")):
        lab.clock.advance(first.ends - lab.clock.now() - timedelta(days=10))
        await until(lambda: any("not taken: OSError" in event.text for event in lab.connector_events))
    lab.clock.advance(timedelta(minutes=2))
    await until(lambda: (identity.find(lab.folder / "connector") or first).ends > first.ends)
