"""`pfxlab demo`: one imported certificate, or a user's whole history of them, from PFX file to opened mail."""

import asyncio
import logging
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab import pkcs12_process
from pfxlab.connector_sim.cmdlets import EncryptionKey, GraphClient
from pfxlab.connector_sim.keys.software import SoftwareKsp
from pfxlab.connector_sim.pfx import Pfx, check_usable, check_validity, open_pfx, purpose_of
from pfxlab.device_sim.client import Device
from pfxlab.device_sim.keys import KeyPool
from pfxlab.device_sim.mailbox import may_sign
from pfxlab.emulator.config import Config, Switches
from pfxlab.emulator.store.deliveries import Delivery
from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.wire.asn1.pkcs12_cost import check_cost
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.emulator.wire.numbers import counted
from pfxlab.scenarios.commands.progress import Progress
from pfxlab.scenarios.lab import chain
from pfxlab.scenarios.lab.key_cache import kept_keys, lay_out
from pfxlab.scenarios.lab.lab import KEY_NAME, Lab
from pfxlab.scenarios.mail import canaries, proofs
from pfxlab.scenarios.mail.authority import MailAuthority
from pfxlab.scenarios.mail.openssl import OpenSsl
from pfxlab.scenarios.mail.proofs import Mail, Proof

PLATFORMS: Final = ("ios", "windows")
Sabotage = Literal["missing-key", "wrong-key"]


@dataclass(frozen=True)
class Material:
    """A certificate to deliver."""

    label: str
    pfx: Pfx
    password: str = field(repr=False)
    purpose: IntendedPurpose
    padding: PaddingScheme


@dataclass
class Result:
    """What a demo found out."""

    seed: int
    proofs: list[Proof] = field(default_factory=list)
    deliveries: list[dict[str, str]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    searched: int = 0
    unsearched: list[str] = field(default_factory=list)
    hops: list[dict[str, Any]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Return whether every delivery arrived, every proof holds and no secret was found."""
        arrived = bool(self.deliveries) and not self.undelivered()
        return arrived and bool(self.proofs) and all(p.passed for p in self.proofs) and not self.findings

    def reasons(self) -> list[str]:
        """Return why it did not pass, causes only: a proof that fails for want of a delivery is not one."""
        problems = [d["reason"] for d in self.deliveries if d["reason"]]
        if not problems:
            problems = [f"{d['device']}: {d['certificate']} is still {d['state']}" for d in self.undelivered()]
        if not problems:
            problems = [f"{p.device} {p.name}: {p.detail}" for p in self.proofs if not p.passed]
        if not problems and not self.proofs:
            problems = ["no proof applies: by its key usage the certificate may neither decrypt nor sign mail"]
        problems += self.findings
        return [text if count == 1 else f"{text} ({count} deliveries)" for text, count in Counter(problems).items()]

    def undelivered(self) -> list[dict[str, str]]:
        """Return the deliveries that did not reach their device."""
        return [d for d in self.deliveries if d["state"] != State.INSTALLED]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "passed": self.passed,
            "seed": self.seed,
            "deliveries": self.deliveries,
            "proofs": [asdict(proof) for proof in self.proofs],
            "secretsFound": self.findings,
            "bytesSearched": self.searched,
            "notSearchedFor": self.unsearched,
            "reasons": self.reasons(),
            "hops": self.hops,
        }


class _LogCapture(logging.Handler):
    """Keeps everything any logger of this process says, for the search for secrets."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(self.format(record))


def own_material(data: bytes, password: str, *, allow_expired: bool, lab_now: Any) -> Material:
    """Return a user's own PFX as material.

    Raises:
        PfxProblem: it cannot be imported; the text says why and what to do.

    """
    pfx = open_pfx(data, password)
    check_usable(pfx, password)
    if not allow_expired:
        check_validity(pfx, lab_now)
    return Material("your certificate", pfx, password, purpose_of(pfx.certificate), PaddingScheme.oaepSha512)


_ASKED_FOR = ("requested", "leased", "ready")


class Demo:
    """One run. Own `material` replaces the test CA's certificates."""

    def __init__(
        self,
        progress: Progress,
        upn: str,
        material: Material | None = None,
        sabotage: Sabotage | None = None,
        seed: int = 7,
    ) -> None:
        self._progress, self._upn, self._own, self._sabotage = progress, upn, material, sabotage
        self._config = Config(seed=seed, switches=Switches(connector_retry_seconds=0.1))
        self._openssl = OpenSsl()
        self._root: x509.Certificate | None = None

    async def run(self) -> Result:
        """Run the scenario and return what it showed."""
        capture, root = _LogCapture(), logging.getLogger()
        level = root.level
        root.addHandler(capture)
        root.setLevel(logging.DEBUG)
        result = Result(self._config.seed)
        try:
            with tempfile.TemporaryDirectory(prefix="pfxlab-") as folder, kept_keys(24) as keys:
                lay_out(Path(folder))
                await self._scenario(Path(folder), result, keys)
                self._search(Path(folder), capture.lines, result)
        finally:
            root.removeHandler(capture)
            root.setLevel(level)
        result.hops = self._progress.hops
        return result

    async def _scenario(self, folder: Path, result: Result, keys: KeyPool) -> None:
        lab = Lab(folder, self._config)
        self._lab, lab.new_key = lab, keys
        async with lab:
            self._progress.hop("cloud", f"Graph, sign-in and Intune emulated at {lab.emulator.origin} (TEST ONLY)")
            self._material = await self._prepare(lab)
            key = lab.encryption_key()
            # The records are encrypted to this one, even when `--break` takes it from the connector.
            self._connector_key = lab.connector_key()._key
            self._break(lab)
            await lab.start_connector()
            self._progress.hop("connector", f"enrolled, holds the key {KEY_NAME} in {lab.ksp.name}")
            devices = [await lab.device(platform, self._upn) for platform in PLATFORMS]
            names = " and ".join(device.hardware.device_name for device in devices)
            self._progress.hop("device", f"{names} enrolled, each with its own key")
            mails = [await self._mail(age, item) for age, item in enumerate(self._encryption())]
            await self._import_all(lab, key)
            await self._deliver(lab, devices)
            result.deliveries = [self._report_of(lab, d, devices) for d in chain.deliveries_of(lab, devices)]
            result.proofs = await self._prove(devices, mails)

    async def _prepare(self, lab: Lab) -> list[Material]:
        lab.add_user(self._upn)
        if self._own is not None:
            self._progress.hop("admin", f"PFX of {self._upn} opened, purpose {self._own.purpose.name}")
            return [self._own]
        authority = await asyncio.to_thread(MailAuthority, lab.clock.now(), lab.new_key)
        issued = await asyncio.to_thread(authority.history, self._upn)
        self._root = authority.certificate
        self._progress.hop("admin", f"test CA issued 3 encryption generations and 1 signing certificate to {self._upn}")
        return [Material(i.label, open_pfx(i.pfx, i.password), i.password, i.purpose, i.padding) for i in issued]

    def _encryption(self) -> list[Material]:
        return [m for m in self._material if m.purpose is IntendedPurpose.smimeEncryption]

    def _break(self, lab: Lab) -> None:
        """Do to the connector's key what `--break` asks for."""
        if self._sabotage is None:
            return
        ksp = SoftwareKsp(lab.folder / "connector" / "keys")
        ksp.path(KEY_NAME).unlink()
        if self._sabotage == "wrong-key":
            ksp.add(KEY_NAME)
        self._progress.hop("connector", f"BROKEN on purpose: {self._sabotage}", ok=False)

    async def _mail(self, age: int, material: Material) -> Mail:
        pfx = material.pfx
        mail = await proofs.write_mail(self._openssl, material.label, pfx.certificate, pfx.thumbprint, age)
        self._progress.hop("proof", f"OpenSSL encrypted a mail to {material.label} ({mail.how})")
        return mail

    async def _import_all(self, lab: Lab, key: EncryptionKey) -> None:
        async with lab.graph() as client:
            await client.sign_in(lab.admin_form())
            self._progress.hop("admin", "signed in at the emulated Entra ID, token for Graph")
            for item in self._material:
                entity = await chain.import_pfx(
                    client, item.pfx, item.password, self._upn, item.purpose, key, item.padding
                )
                shown = f"{item.label}: password under {item.padding.name}, record …{entity['thumbprint'][-8:]}"
                self._progress.hop("admin", f"imported {shown}")
            await self._assign(lab, client)

    async def _assign(self, lab: Lab, client: GraphClient) -> None:
        group = lab.operator.credentials.group_id
        purposes = sorted({item.purpose for item in self._material})
        for platform in PLATFORMS:
            for purpose in purposes:
                await chain.assign_profile(client, platform, purpose, group)
        text = f"{len(PLATFORMS) * len(purposes)} imported-PFX profiles created and assigned to the mail users"
        self._progress.hop("admin", text)

    async def _deliver(self, lab: Lab, devices: list[Device]) -> None:
        for round_number in (1, 2):
            for device in devices:
                messages = await device.check_in()
                # The connector may be working already: the line reports what the device requested.
                states = Counter(
                    "requested" if round_number == 1 and str(d.state) in _ASKED_FOR else str(d.state)
                    for d in chain.deliveries_of(lab, [device])
                )
                held = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
                plural = "message" if messages == 1 else "messages"
                text = f"{device.hardware.device_name} check-in {round_number}: {messages} {plural}; {held}"
                self._progress.hop("device", text)
            if round_number == 1:
                in_time = await chain.wait_for_connector(lab, devices)
                done = Counter(str(d.state) for d in chain.deliveries_of(lab, devices))
                text = f"re-encrypted for each device's key: {done['ready']} ready, {done['failed']} failed"
                self._progress.hop("connector", text, ok=in_time and not done["failed"])

    def _report_of(self, lab: Lab, delivery: Delivery, devices: list[Device]) -> dict[str, str]:
        device = next(d for d in devices if d.identity.device_id == delivery.device_id)
        label = next((m.label for m in self._material if m.pfx.thumbprint == delivery.thumbprint), "")
        return {
            "device": device.hardware.device_name,
            "certificate": label,
            "state": str(delivery.state),
            "reason": delivery.reason or "",
        }

    async def _prove(self, devices: list[Device], mails: list[Mail]) -> list[Proof]:
        made = [proofs.opens(device, mail) for device in devices for mail in mails]
        if any(may_sign(item.pfx.certificate) for item in self._material):
            made += [await proofs.signs(self._openssl, device, self._root) for device in devices]
        for proof in made:
            text = f"{proof.device} {proof.name}: {proof.detail}"
            self._progress.hop("proof", text, ok=proof.passed)
        return made

    def _searchable(self, result: Result) -> list[Material]:
        """Return the material whose password is long enough to be searched for; short ones occur by chance."""
        short = [m.label for m in self._material if len(m.password) < canaries.SHORTEST]
        if short:
            result.unsearched = [f"password of {label}" for label in short]
            text = f"password of {', '.join(short)} is shorter than {canaries.SHORTEST} characters: not searched for"
            self._progress.hop("proof", text)
        return [m for m in self._material if m.label not in short]

    def _search(self, folder: Path, log_lines: list[str], result: Result) -> None:
        """Search what the cloud and the logs kept for every password and every private key."""
        made = self._lab.operator
        watched = [canaries.of_password(m.label, m.password) for m in self._searchable(result)]
        watched += [canaries.of_password(upn, password) for upn, password in made.passwords.items()]
        watched.append(canaries.of_password("the import tool", made.credentials.admin_client_secret))
        for item in self._material:
            data = item.pfx.data
            key = pkcs12_process.load(data, item.password.encode(), check_cost(data).shown).key
            if isinstance(key, rsa.RSAPrivateKey):
                watched += canaries.of_key(item.label, key)
        watched += canaries.of_key("the connector", self._connector_key)
        for device in self._lab.devices.values():
            watched += canaries.of_key(device.hardware.device_name, device.identity.key)
        places = canaries.files_below(folder / "cloud")
        places.append(("logs", "\n".join(log_lines).encode()))
        events = "\n".join(f"{e.id} {e.text} {e.fields}" for e in self._lab.connector_events)
        places.append(("connector event log", events.encode()))
        result.searched = sum(len(content) for _, content in places)
        found = canaries.search(watched, places)
        result.findings = [f"{f.canary} found in {f.place} ({f.form})" for f in found]
        text = f"{counted(len(watched), 'secret')} searched in {result.searched:,} bytes of cloud data and logs: "
        self._progress.hop("proof", text + (f"{len(found)} FOUND" if found else "none found"), ok=not found)
