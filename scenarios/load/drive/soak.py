"""A soak test: an hour or more of the lab's time at a high rate, to see that neither memory nor database grows.

The whole lab runs in this process, and its clock moves second by second. In each second certificates are renewed (the
oldest record deleted, another imported), devices check in, a list is read, the connector works. The amount of data is
constant after the first minutes, so memory and database must be too.
"""

import random
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psutil

from pfxlab.connector_sim.cmdlets import GraphClient
from pfxlab.connector_sim.pfx import open_pfx
from pfxlab.device_sim.client import Device
from pfxlab.emulator.config import Config
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.scenarios.lab import chain
from pfxlab.scenarios.lab.key_cache import key_pool, lay_out
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.mail.authority import CertificatePlan, MailAuthority, MailCertificate

_START: Final = datetime(2026, 3, 2, 7, tzinfo=UTC)
_RECORDS: Final = "/beta/deviceManagement/userPfxCertificates"
_JOURNAL: Final = 5_000
_USERS: Final = 5
_HELD: Final = 2
_RING: Final = 4
"""Each user has `_HELD` certificates imported at a time, in turn out of `_RING`."""

SETTLING: Final = 0.25
"""The share of a soak, from its start, in which caches and tables may still fill."""

FLAT: Final = 0.05
"""The growth allowed over the rest of the soak, as a share of the level."""


@dataclass(frozen=True)
class Reading:
    """The lab's footprint at a moment: minutes of its time since the start, MiB in RAM, MiB on the disk."""

    minute: float
    memory_mb: float
    database_mb: float


@dataclass(frozen=True)
class Growth:
    """How a figure changed after settling: its level, and its gain over the soak as a share of the level."""

    level: float
    share: float

    @property
    def flat(self) -> bool:
        """Return whether it grew by no more than `FLAT`."""
        return self.share <= FLAT


def growth(minutes: Sequence[float], values: Sequence[float]) -> Growth:
    """Return how values grow, by linear regression over those after settling.

    Raises:
        ValueError: fewer than three values are left to fit.

    """
    settled = [(x, y) for x, y in zip(minutes, values, strict=True) if x >= SETTLING * minutes[-1]]
    if len(settled) < 3:
        raise ValueError(f"expected a soak of several minutes, got {len(settled)} readings after settling")
    level = statistics.fmean(y for _, y in settled)
    slope = statistics.linear_regression([x for x, _ in settled], [y for _, y in settled]).slope
    return Growth(level, slope * (settled[-1][0] - settled[0][0]) / level)


@dataclass
class _User:
    """A user of the soak: certificates to import in turn, and ids of the records in Graph, oldest first."""

    upn: str
    ring: deque[MailCertificate]
    held: deque[str]


class _Soak:
    def __init__(self, lab: Lab, seed: int) -> None:
        self._lab, self._rng = lab, random.Random(seed)  # noqa: S311 - the lab's seed
        self._users: list[_User] = []
        self._devices: list[Device] = []
        self.done = dict.fromkeys(("renewals", "check-ins", "lists"), 0)

    async def begin(self, client: GraphClient, devices: int) -> None:
        """Create users with their certificates, profiles and devices."""
        authority, keys = MailAuthority(_START, key_pool()), key_pool()
        for platform in ("ios", "windows"):
            group = self._lab.operator.credentials.group_id
            await chain.assign_profile(client, platform, IntendedPurpose.smimeEncryption, group)
        what = (IntendedPurpose.smimeEncryption, PaddingScheme.oaepSha512)
        self._lab.new_key = keys
        for number in range(_USERS):
            upn = f"soak-{number}@pfxlab.example"
            self._lab.add_user(upn)
            plans = [CertificatePlan(f"soak {turn}", *what, 400 - turn, 1095, legacy=True) for turn in range(_RING)]
            self._users.append(_User(upn, deque(authority.issue(upn, plan) for plan in plans), deque()))
        for user in self._users:
            for _ in range(_HELD):
                await self._import(client, user)
        for number in range(devices):
            user, platform = self._users[number % _USERS], ("ios", "windows")[number // _USERS % 2]
            self._devices.append(await self._lab.device(platform, user.upn, name=f"soak-{number}"))

    async def _import(self, client: GraphClient, user: _User) -> None:
        certificate = user.ring[0]
        user.ring.rotate(-1)
        pfx = open_pfx(certificate.pfx, certificate.password)
        key = self._lab.encryption_key()
        record = await chain.import_pfx(
            client, pfx, certificate.password, user.upn, certificate.purpose, key, certificate.padding
        )
        user.held.append(str(record["id"]))

    async def second(self, client: GraphClient, renewals: int, check_ins: int) -> None:
        """Carry out one second of the lab's time."""
        for _ in range(renewals):
            user = self._rng.choice(self._users)
            await client.call("DELETE", f"{_RECORDS}/{user.held.popleft()}")
            await self._import(client, user)
            self.done["renewals"] += 1
        for _ in range(check_ins):
            await self._lab.check_in(self._rng.choice(self._devices))
            self.done["check-ins"] += 1
        await client.call("GET", f"{_RECORDS}?$top=20")
        self.done["lists"] += 1
        await self._lab.connectors_work()
        self._lab.clock.advance(timedelta(seconds=1))


async def soak(
    minutes: float, renewals: int, check_ins: int, devices: int, seed: int, progress: Callable[[Reading], None]
) -> dict[str, Any]:  # fmt: skip
    """Soak a lab and return its readings, one for each minute of its time, and how they grew; `progress` gets each."""
    readings: list[Reading] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pfxlab-soak-") as folder:
        lay_out(Path(folder))
        config = Config(seed=seed, journal_entries=_JOURNAL)
        async with Lab(Path(folder), config, at=_START, stepped=True) as lab, lab.graph() as client:
            await lab.start_connector()
            await client.sign_in(lab.admin_form())
            run = _Soak(lab, seed)
            await run.begin(client, devices)
            for second in range(int(minutes * 60) + 1):
                if second % 60 == 0:
                    size = lab.size() / 2**20
                    readings.append(
                        Reading(second / 60, round(psutil.Process().memory_info().rss / 2**20, 2), round(size, 2))
                    )
                    progress(readings[-1])
                await run.second(client, renewals, check_ins)
    moments = [one.minute for one in readings]
    grown = {name: growth(moments, [getattr(one, name) for one in readings]) for name in ("memory_mb", "database_mb")}
    return {
        "minutes": minutes,
        "per_second": {"renewals": renewals, "check_ins": check_ins, "lists": 1},
        "done": run.done,
        "seconds_taken": round(time.monotonic() - began, 1),
        "growth": {name: {**asdict(one), "flat": one.flat} for name, one in grown.items()},
        "flat": all(one.flat for one in grown.values()),
        "readings": [asdict(one) for one in readings],
    }
