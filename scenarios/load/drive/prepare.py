"""Fills a kit before anything is measured: keys, certificates, users, devices, through the target's own protocols."""

import asyncio
import random
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab import private_file
from pfxlab.connector_sim.cmdlets import EncryptionKey, GraphClient, new_user_pfx_certificate
from pfxlab.connector_sim.keys.software import SoftwareKsp
from pfxlab.connector_sim.pfx import open_pfx
from pfxlab.connector_sim.service import Settings, enroll
from pfxlab.device_sim.fleet import Member
from pfxlab.device_sim.keys import KeyPool
from pfxlab.emulator.wire.connector import write_work
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.scenarios.lab import chain
from pfxlab.scenarios.lab.key_cache import key_pool
from pfxlab.scenarios.lab.lab import KEY_NAME
from pfxlab.scenarios.load.drive.kit import Kit
from pfxlab.scenarios.load.drive.material import Material, requests
from pfxlab.scenarios.mail.authority import CertificatePlan, MailAuthority, MailCertificate
from pfxlab.scenarios.parties.fleet import FleetUsers, open_fleet
from pfxlab.scenarios.parties.hardware import hardware_of

Progress = Callable[[str], None]

_BODIES: Final = 16
_DEVICE_KEYS: Final = 32
_BATCHES: Final = 10


class CannotPrepare(Exception):
    """The target did not accept what the run needs; the text says what."""


def _key(facts: dict[str, Any]) -> EncryptionKey:
    public = serialization.load_pem_public_key(Path(facts["connector_public_key_file"]).read_bytes())
    if not isinstance(public, rsa.RSAPublicKey):
        raise CannotPrepare("expected the connector's public key to be RSA, got another")
    return EncryptionKey(public, facts["provider_name"], facts["key_name"])


def _prefix() -> str:
    """Return the prefix of a run's user names, unique because the same lab can be loaded more than once."""
    return f"load-{secrets.token_hex(3)}"


def _client(facts: dict[str, Any]) -> GraphClient:
    return GraphClient(facts["graph_url"], facts["authority_url"], Path(facts["ca_file"]))


def _admin(facts: dict[str, Any]) -> dict[str, str]:
    return {"grant_type": "client_credentials", **facts["application"]}


def _certificates(upn: str, count: int, authority: MailAuthority) -> list[MailCertificate]:
    what = (IntendedPurpose.smimeEncryption, PaddingScheme.oaepSha512)
    plans = [CertificatePlan(f"load {number}", *what, 700 - number, 1095, legacy=True) for number in range(count)]
    return [authority.issue(upn, plan) for plan in plans]


async def graph(kit: Kit, progress: Progress) -> None:
    """Create users, and records to import: certificates of typical size, passwords encrypted to the connector's key."""
    facts, plan, fleet_users = kit.facts(), kit.plan, FleetUsers(kit.folder, _prefix())
    progress(f"creating {plan.users} users and {_BODIES} certificates")
    names = await fleet_users.make(facts, plan.users, lambda *_: None)
    key, authority = _key(facts), MailAuthority(datetime.now(UTC), key_pool())
    bodies = []
    for number, certificate in enumerate(_certificates("load@pfxlab.example", _BODIES, authority)):
        pfx = open_pfx(certificate.pfx, certificate.password)
        upn = names[number % len(names)]
        bodies.append(
            new_user_pfx_certificate(pfx, certificate.password, upn, certificate.purpose, key, certificate.padding)
        )
    kit.save("bodies.json", bodies)


async def devices(kit: Kit, progress: Progress) -> None:
    """Create users with certificates and profiles, device keys and, for a run of check-ins, devices."""
    facts, plan, fleet_users = kit.facts(), kit.plan, FleetUsers(kit.folder, _prefix())
    platforms = [name for name, weight in plan.platforms.items() for _ in range(weight)]
    progress(f"creating {plan.users} users with {plan.certificates} certificates each")
    names = await fleet_users.make(facts, plan.users, lambda *_: None)
    kit.save("tokens.json", await fleet_users.tokens(facts, names))
    key, authority = _key(facts), MailAuthority(datetime.now(UTC), key_pool())
    async with _client(facts) as client:
        await client.sign_in(_admin(facts))
        present = {one.get("displayName") for one in await client.all_pages(chain.PROFILES)}
        for platform in dict.fromkeys(platforms):
            # A lab that was loaded before has the profile already; a second one would deliver everything twice.
            if chain.profile_name(platform, IntendedPurpose.smimeEncryption) in present:
                continue
            await chain.assign_profile(client, platform, IntendedPurpose.smimeEncryption, facts["group_id"])
        for upn in names:
            for certificate in _certificates(upn, plan.certificates, authority):
                pfx = open_pfx(certificate.pfx, certificate.password)
                await chain.import_pfx(
                    client, pfx, certificate.password, upn, certificate.purpose, key, certificate.padding
                )
    kit.keys.mkdir(parents=True, exist_ok=True, mode=0o700)
    pool = KeyPool(kit.keys / "devices.pem", _DEVICE_KEYS)
    progress(f"creating {_DEVICE_KEYS} device keys")
    await asyncio.to_thread(pool.fill)
    if plan.path == "checkin":
        await _enroll(kit, facts, platforms, names, pool, progress)


async def _enroll(
    kit: Kit, facts: dict[str, Any], platforms: list[str], names: list[str], pool: KeyPool, progress: Progress
) -> None:  # fmt: skip
    plan, tokens = kit.plan, kit.tokens()
    progress(f"enrolling {plan.devices} devices")
    mixed = list(platforms)
    random.Random(plan.seed).shuffle(mixed)  # noqa: S311 - the lab's seed
    fleet = await open_fleet(kit.fleet, facts, pool)
    wanted = []
    for number in range(plan.devices):
        platform, upn = mixed[number % len(mixed)], names[number % len(names)]
        name = f"{platform}-{number:06}"
        wanted.append((Member(name, platform, upn), hardware_of(platform, upn, plan.seed, name)))
    done = await fleet.enroll(wanted, tokens)
    if done.done < plan.devices:
        why = next(text for text in done.outcomes if text != "ok")
        raise CannotPrepare(f"expected {plan.devices} devices to enrol, {plan.devices - done.done} could not: {why}")


async def connectors(kit: Kit, key: rsa.RSAPrivateKey, token: str) -> None:
    """Enrol a connector for each load generator; all share the key that the queue's passwords are encrypted to."""
    SoftwareKsp(kit.keys).store(KEY_NAME, key)
    settings = Settings(kit.url, kit.ca_file)
    for number in range(kit.plan.processes):
        folder = kit.connectors / str(number)
        folder.mkdir(parents=True, mode=0o700)
        await enroll(settings, token, folder, f"load generator {number}", f"LOAD-{number}")


def crypto(kit: Kit, progress: Progress) -> None:
    """Create a key and batches of requests for it."""
    plan = kit.plan
    progress(f"creating a key of {plan.key_bits} bits and {_BATCHES} batches of {plan.batch} requests")
    material = Material(plan.key_bits)
    SoftwareKsp(kit.keys).store(KEY_NAME, material.key)
    items = requests(material, material.ciphertexts(_BATCHES * plan.batch), plan.platforms)
    data = write_work("prepared", 120, items)
    private_file.replace(kit.work, data)
