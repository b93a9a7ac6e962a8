"""`pfxlab bench devices`: CPU cost of an idle check-in, profile of a delivery, memory per device.

Idle check-ins alternate with requests to a bare handler that requires the same client certificates, on the same
machine, TLS settings and process. A delivery, from key generation to the installed certificate, runs under a profiler.
"""

import asyncio
import cProfile
import json
import multiprocessing
import pstats
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key
from cryptography.x509.oid import NameOID

from pfxlab import private_file
from pfxlab.connector_sim.pfx import open_pfx
from pfxlab.device_sim import identity as identities
from pfxlab.device_sim.apple.profile import InstalledProfile
from pfxlab.device_sim.certstore import CertStore, Identity
from pfxlab.device_sim.client import DeviceClient
from pfxlab.device_sim.fleet import Fleet, Member
from pfxlab.device_sim.identity import Enrolled, Management, MdmIdentity
from pfxlab.device_sim.keys import KeyPool, generate
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.edge import client_certificate
from pfxlab.emulator.pki import thumbprint
from pfxlab.emulator.server import loopback
from pfxlab.emulator.store.deliveries import Delivery
from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.store.device_configurations import Assignment, DeviceConfiguration
from pfxlab.emulator.store.devices import Device
from pfxlab.emulator.store.pfx_certificates import PfxCertificate
from pfxlab.emulator.wire.apple.enrollment import ALL_RIGHTS
from pfxlab.emulator.wire.apple.mdm import profile_identifier
from pfxlab.emulator.wire.enrollment import APPLE_CHECKIN_PATH, APPLE_COMMAND_PATH, OMADM_PATH
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.emulator.wire.omadm import pfx_cert_install as csp
from pfxlab.emulator.wire.platforms import PLATFORMS
from pfxlab.scenarios import ending
from pfxlab.scenarios.lab import chain
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.load.bench.children import running
from pfxlab.scenarios.load.bench.graph import resident_mb
from pfxlab.scenarios.mail.authority import MailAuthority
from pfxlab.scenarios.parties.hardware import hardware_of

_CERTIFICATES: Final = 3
_KEYS: Final = 16
_AT_ONCE: Final = 8
_PLATFORMS: Final = ("ios", "windows")
_RSA: Final = (
    "generate_private_key",
    "'sign' of 'cryptography.hazmat.bindings._rust.openssl.rsa",
    "'decrypt' of 'cryptography.hazmat.bindings._rust.openssl.rsa",
    "create_x509_c",
    "sign_and_serialize",
)
"""Functions that count as RSA in a profile, beside key checks. TLS handshakes, half of which is RSA, do not count."""

Progress = Callable[[str], None]


class _EnrolledDevices:
    """A store with many enrolled devices and nothing left to deliver, and folders of a sample of the devices."""

    def __init__(self, folder: Path, devices: int, sample: int) -> None:
        self.folder, self.devices = folder, devices
        # Pairs of neighbours, which have different platforms, spread over the whole store.
        apart = max(1, devices // sample)
        self.sample = [pair * 2 * apart + which for pair in range(sample // 2) for which in (0, 1)]
        lab = Lab(folder / "lab")
        try:
            self._fill(lab)
        finally:
            lab.cloud.close()
            lab._lock.release()

    def _fill(self, lab: Lab) -> None:
        pool, now = KeyPool(None, _KEYS), lab.clock.now()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ConfigMgrEnroll")])
        keys = [pool() for _ in range(_KEYS)]
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
        requests = [builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER) for key in keys]
        authority = lab.cloud.device_ca
        held = [
            Identity("", authority.issue(requests[number], f"mail {number} TEST ONLY", now), keys[number])
            for number in range(_CERTIFICATES)
        ]
        chosen = set(self.sample)
        with lab.cloud.store.atomic():
            profiles = [_profile(lab, platform) for platform in _PLATFORMS]
            for number in range(self.devices):
                who = authority.issue(requests[number % _KEYS], f"d{number:07}", now)
                deliveries = _device(lab, number, who, profiles[number % 2], held)
                if number in chosen:
                    mine = MdmIdentity(f"d{number:07}", who, keys[number % _KEYS])
                    self._device_folder(number, mine, deliveries, held)

    def _device_folder(self, number: int, who: MdmIdentity, deliveries: list[str], held: list[Identity]) -> None:
        member = member_of(number)
        place = self.folder / "fleet" / "devices" / member.name
        management = Management(
            server_url=f"https://localhost{APPLE_COMMAND_PATH if member.platform == 'ios' else OMADM_PATH}",
            checkin_url=f"https://localhost{APPLE_CHECKIN_PATH}",
            access_rights=ALL_RIGHTS,
        )
        hardware = hardware_of(member.platform, member.upn, 7, member.name)
        identities.save(place, Enrolled(who, hardware, management))
        store, tree, profiles = CertStore(place / "store"), {}, {}
        for delivery, one in zip(deliveries, held, strict=True):
            source = f"{csp.USER_ROOT}/{delivery.upper()}"
            if member.platform == "ios":
                source = profile_identifier(delivery)
                profiles[source] = vars(InstalledProfile(delivery.upper(), "n", [source]))
            else:
                tree[source] = {"Status": "0", "Thumbprint": one.thumbprint.upper()}
            store.install(Identity(source, one.certificate, one.key))
        name, content = ("profiles.json", profiles) if member.platform == "ios" else ("nodes.json", tree)
        private_file.replace(place / name, json.dumps(content).encode())


def member_of(number: int) -> Member:
    """Return the device with that number: name, platform and user."""
    platform = _PLATFORMS[number % 2]
    return Member(f"{platform}-{number:07}", platform, f"u{number}@pfxlab.example")


def _profile(lab: Lab, platform: str) -> str:
    """Write a profile for all users into the store and return its id."""
    profiles, now, key = lab.cloud.profiles, lab.clock.now(), f"p-{platform}"
    tenant, kind = lab.operator.credentials.tenant_id, PLATFORMS[platform].profile_type
    properties = {"intendedPurpose": "smimeEncryption"}
    profiles.save(DeviceConfiguration(key, tenant, kind, platform, 1, now, now, properties))
    profiles.assign(key, [Assignment(f"a-{platform}", key, "allLicensedUsersAssignmentTarget", "")])
    return key


def _device(lab: Lab, number: int, who: x509.Certificate, profile: str, held: Sequence[Identity]) -> list[str]:
    """Write a device, its user's records and their installed deliveries into the store; return the deliveries' ids."""
    cloud, tenant, now = lab.cloud, lab.operator.credentials.tenant_id, lab.clock.now()
    member, user, device = member_of(number), f"{number:032x}", f"d{number:07}"
    hardware = hardware_of(member.platform, member.upn, 7, member.name)
    key, purpose = thumbprint(who), IntendedPurpose.smimeEncryption
    user_id = f"{user[:8]}-{user[8:12]}-{user[12:16]}-{user[16:20]}-{user[20:]}"
    cloud.devices.save(
        Device(
            device, tenant, user_id, member.platform, member.name, "1", "m", "m", "s", hardware.udid,
            who.public_bytes(Encoding.DER), key, now, now,
        )
    )  # fmt: skip
    ids = []
    for index, one in enumerate(held):
        record, delivery = f"{user}-{one.thumbprint}", f"{index:08x}-0000-4000-8000-{number:012x}"
        cloud.certificates.save(
            PfxCertificate(
                record, tenant, user_id, one.thumbprint, member.upn, purpose, now, now, "p", "k",
                PaddingScheme.oaepSha512, b"\x30" * 4096, "AA==", now, now,
            )
        )  # fmt: skip
        cloud.deliveries.save(
            Delivery(
                delivery, tenant, device, user_id, profile, record, one.thumbprint, purpose, State.INSTALLED, "u", now,
                now, device_key_thumbprint=key, maybe_on_device=True,
            )
        )  # fmt: skip
        ids.append(delivery)
    return ids


def _serve(folder: str, pipe: Pipe) -> None:
    """Run the emulator and, on another port, the bare handler; reply to messages with CPU seconds and memory."""

    async def bare(lab: Lab) -> int:
        known = lab.cloud.devices.keys(lab.operator.credentials.tenant_id)

        async def handle(request: web.Request) -> web.Response:
            certificate = client_certificate(request)
            if certificate is None or thumbprint(certificate) not in known:
                return web.Response(status=401)
            await request.read()
            return web.Response()

        app = web.Application()
        app.router.add_put("/", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        context = lab.emulator.tls.server_context([lab.cloud.device_ca.certificate])
        await web.TCPSite(runner, loopback(), 0, ssl_context=context).start()
        return int(runner.addresses[0][1])

    async def serve() -> None:
        async with Lab(Path(folder)) as lab:
            pipe.send((lab.emulator.origin, str(lab.ca_file), await bare(lab)))
            while await asyncio.to_thread(pipe.recv) != "stop":
                pipe.send((time.process_time(), resident_mb()))

    with suppress(EOFError, BrokenPipeError):
        asyncio.run(serve())


class _Served:
    """The emulator in its own process."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self.origin, ca_file, self.bare_port = pipe.recv()
        self.ca_pem = Path(ca_file).read_bytes()

    def usage(self) -> tuple[float, float]:
        """Return (CPU seconds so far, resident MiB)."""
        self._pipe.send("usage")
        cpu, memory = self._pipe.recv()
        return float(cpu), float(memory)


@contextmanager
def _served(folder: Path) -> Iterator[_Served]:
    """Serve a lab for the time of a block."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    with running(context.Process(target=_serve, args=(str(folder), theirs))):
        theirs.close()
        yield _Served(pipe)
        pipe.send("stop")


async def _bare_round(fleet: Fleet, members: Sequence[Member], served: _Served) -> None:
    """Let each device send one request to the bare handler, each over a new connection."""
    url, waiting = f"https://localhost:{served.bare_port}/", iter(members)

    async def worker() -> None:
        for member in waiting:
            tls: ssl.SSLContext = fleet.open(member).identity.tls(served.ca_pem)
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as http,
                http.put(url, data=b"x" * 300) as response,
            ):
                if response.status != 200:
                    raise RuntimeError(f"expected 200 from the bare handler, got {response.status}")

    await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))


async def _idle(enrolled: _EnrolledDevices, served: _Served, turns: int, progress: Progress) -> list[float]:
    """Return the ratio of each turn: the emulator's CPU time for an idle check-in to that for a bare request."""
    fleet = Fleet(enrolled.folder / "fleet", DeviceClient(served.origin, served.ca_pem, LabClock()), _AT_ONCE)
    members = [member_of(number) for number in enrolled.sample]
    ratios = []
    for turn in range(turns):
        marks = [served.usage()[0]]
        await _bare_round(fleet, members, served)
        marks.append(served.usage()[0])
        done = await fleet.check_in(members)
        marks.append(served.usage()[0])
        if done.done != len(members):
            raise RuntimeError(f"expected every device to check in, got {dict(done.outcomes)}")
        bare, idle = (1000 * (marks[n + 1] - marks[n]) / len(members) for n in (0, 1))
        ratios.append(idle / bare)
        per = done.messages / len(members)
        progress(f"turn {turn + 1} of {turns}: bare {bare:.2f} ms, idle check-in {idle:.2f} ms of {per:.1f} messages")
    return ratios


async def _deliver(folder: Path, devices: int) -> tuple[cProfile.Profile, float]:
    """Enrol devices and deliver three certificates to each, all in this process; return profile and CPU seconds."""
    async with Lab(folder) as lab:
        await lab.start_connector()
        history = MailAuthority(datetime.now(UTC)).history(lab.operator.credentials.user_upn)
        wanted = [one for one in history if one.purpose is IntendedPurpose.smimeEncryption][:_CERTIFICATES]
        await _import(lab, wanted)
        client = DeviceClient(lab.emulator.origin, lab.emulator.tls.ca_pem, lab.clock)
        fleet = Fleet(folder / "fleet", client, _AT_ONCE)
        upn = lab.operator.credentials.user_upn
        members = [Member(member_of(number).name, _PLATFORMS[number % 2], upn) for number in range(devices)]
        plan = [(member, hardware_of(member.platform, upn, 7, member.name)) for member in members]
        tokens = {upn: await lab.user_token(upn, lab.password_of(upn))}
        profile, begin = cProfile.Profile(), time.process_time()
        profile.enable()
        await fleet.enroll(plan, tokens)
        for _ in range(4):
            await fleet.check_in(members)
            await _quiet(lab)
        profile.disable()
        took = time.process_time() - begin
        states = lab.cloud.deliveries.states_of_tenant(lab.operator.credentials.tenant_id)
        if states != {State.INSTALLED: devices * len(wanted)}:
            raise RuntimeError(f"expected every certificate to be installed, got {states}")
    return profile, took


async def _import(lab: Lab, wanted: Sequence[Any]) -> None:
    async with lab.graph() as client:
        await client.sign_in(lab.admin_form())
        upn = lab.operator.credentials.user_upn
        for certificate in wanted:
            pfx = open_pfx(certificate.pfx, certificate.password)
            await chain.import_pfx(
                client, pfx, certificate.password, upn, certificate.purpose, lab.encryption_key(), certificate.padding
            )
        for platform in _PLATFORMS:
            group = lab.operator.credentials.group_id
            await chain.assign_profile(client, platform, IntendedPurpose.smimeEncryption, group)


async def _quiet(lab: Lab) -> None:
    tenant = lab.operator.credentials.tenant_id
    for _ in range(2400):
        if not lab.cloud.deliveries.count(tenant, State.REQUESTED, State.LEASED):
            return
        await asyncio.sleep(0.05)
    raise RuntimeError("expected the connector to finish within two minutes, it did not")


def _rsa_seconds(stats: pstats.Stats) -> Iterator[tuple[str, float]]:
    """Yield (function, seconds) of every function that counts as RSA.

    Loading a PKCS#12 counts with the time of OpenSSL's check of its key, which is measured here.
    """
    check = _key_check()
    for (_, _, name), (_, calls, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        if "load_pkcs12" in name:
            yield name, min(own, calls * check)
        elif any(part in name for part in _RSA):
            yield name, own


def _key_check(times: int = 10) -> float:
    """Return the seconds that the check adds to loading an RSA key."""
    der = generate().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def seconds(*, unchecked: bool) -> float:
        begin = time.process_time()
        for _ in range(times):
            load_der_private_key(der, None, unsafe_skip_rsa_key_validation=unchecked)
        return (time.process_time() - begin) / times

    return seconds(unchecked=False) - seconds(unchecked=True)


def run(
    progress: Progress, devices: int = 10_000, sample: int = 1000, turns: int = 5, delivered: int = 1000,
    profile_file: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return baseline, ratios and memory; `progress` is called with each step.

    Raises:
        RuntimeError: a device could not check in, or a certificate was not installed.

    """
    with tempfile.TemporaryDirectory(prefix="pfxlab-bench-") as name:
        folder = Path(name)
        with tempfile.TemporaryDirectory(prefix="pfxlab-bench-") as none, _served(Path(none)) as empty:
            nothing = empty.usage()[1]
        progress(f"enrolling {devices:,} devices with {_CERTIFICATES} certificates each, straight into the store")
        enrolled = _EnrolledDevices(folder, devices, sample)
        mine = resident_mb()
        with _served(folder / "lab") as served:
            ratios = ending.run(_idle(enrolled, served, turns, progress))
            theirs, ours = served.usage()[1] - nothing, max(0.0, resident_mb() - mine)
        kilobytes = 1024 * (theirs / devices + ours / len(enrolled.sample))
    progress(f"enrolling {delivered:,} devices with keys of their own, delivering {_CERTIFICATES} certificates to each")
    with tempfile.TemporaryDirectory(prefix="pfxlab-bench-") as name:
        profile, cpu = ending.run(_deliver(Path(name), delivered))
    stats = pstats.Stats(profile)
    rsa = dict(_rsa_seconds(stats))
    if profile_file is not None:
        _write_profile(profile_file, profile, delivered, cpu, sum(rsa.values()))
    return {
        "baseline": {"bare_handler": "aiohttp, the same client certificates, one request to a connection"},
        "ratios": {
            "idle_checkin_vs_bare": round(statistics.median(ratios), 3),
            "rsa_cpu_share": round(sum(rsa.values()) / cpu, 3),
        },
        "kb_per_device": round(kilobytes, 1),
        "delivery": {"devices": delivered, "cpu_seconds": round(cpu, 1), "rsa_seconds": round(sum(rsa.values()), 1)},
    }


def _write_profile(path: Path, profile: cProfile.Profile, devices: int, cpu: float, rsa: float) -> None:
    """Write the functions that took most of the time of a delivery, without paths."""
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{devices} devices enrolled, {_CERTIFICATES} certificates delivered to each: {cpu:.1f} s of CPU, ")
        file.write(f"{rsa:.1f} s of it RSA. cProfile, one process, `pfxlab bench devices --profile FILE`.\n")
        pstats.Stats(profile, stream=file).strip_dirs().sort_stats("tottime").print_stats(40)
