"""Thousands of devices in one process: each the same client as a single one, opened when its turn comes.

folder/fleet.jsonl    one line for each enrolled device: name, platform, user
folder/devices/NAME   the device itself, as a single one is kept
"""

import asyncio
import contextlib
import json
import logging
import os
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from pfxlab.device_sim.client import Device, DeviceClient
from pfxlab.device_sim.errors import DeviceDamaged, EnrollmentRefused, SessionFailed
from pfxlab.device_sim.identity import Hardware, is_kept, platform_of
from pfxlab.emulator.wire.files.damaged import reading
from pfxlab.emulator.wire.text import describe_defect

ProgressCallback: TypeAlias = Callable[[int, int], None]
"""Hears (devices done, devices in all) as a round goes on."""

_LOG = logging.getLogger(__name__)
_PERCENTILES: Final = (50, 95, 99)


@dataclass(frozen=True)
class Member:
    """One device of a fleet."""

    name: str
    platform: str
    upn: str


@dataclass
class Round:
    """What came of doing one thing with many devices: outcomes by text, seconds each took, messages sent."""

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    messages: int = 0
    took: float = 0.0

    @property
    def done(self) -> int:
        """Return how many devices did it."""
        return self.outcomes["ok"]

    def percentiles(self) -> dict[str, float]:
        """Return p50, p95 and p99 of the milliseconds each device took; 0 of nothing."""
        if len(self.seconds) < 2:
            only = round(1000 * sum(self.seconds), 1)
            return {f"p{percent}": only for percent in _PERCENTILES}
        cuts = statistics.quantiles(self.seconds, n=100, method="inclusive")
        return {f"p{percent}": round(1000 * cuts[percent - 1], 1) for percent in _PERCENTILES}


class Fleet:
    """The devices of a folder. `at_once`: how many of them talk to the service at the same time."""

    def __init__(self, folder: Path, client: DeviceClient, at_once: int = 16) -> None:
        self.folder, self._client, self._at_once = folder, client, at_once
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def _index(self) -> Path:
        return self.folder / "fleet.jsonl"

    def members(self) -> list[Member]:
        """Return the devices under management, in the order of their enrolment.

        Those that have left are no longer among them. A device whose line is damaged, or was never written, comes
        last, without its user.

        Raises:
            DeviceDamaged: the list of devices, or the folder of them, cannot be read.

        """
        place = self.folder / "devices"
        listed = {member.name: member for member in self._listed()}
        with reading(place, "a folder of devices", f"delete {self.folder} and enrol its devices again", DeviceDamaged):
            folders = sorted(path.name for path in place.iterdir()) if place.exists() else []
        more = [Member(name, platform_of(place / name), "") for name in folders if name not in listed]
        return [member for member in (*listed.values(), *more) if is_kept(place / member.name)]

    def _listed(self) -> list[Member]:
        remedy = "delete it: devices are found by their folders, without their users' names in `pfxlab devices show`"
        with reading(self._index, "one line for each device", remedy, DeviceDamaged):
            lines = self._index.read_bytes().splitlines() if os.path.lexists(self._index) else []
        found = []
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):
                member = Member(**json.loads(line))
                if _is_name(member.name) and isinstance(member.platform, str) and isinstance(member.upn, str):
                    found.append(member)
        return found

    def open(self, member: Member) -> Device:
        """Return a device.

        Raises:
            SessionFailed: its folder holds none.
            DeviceDamaged: a file of it is damaged.

        """
        device = self._client.open(self.folder / "devices" / member.name)
        if device is None:
            raise SessionFailed(f"expected the device {member.name} in {self.folder.name}/devices, got none")
        return device

    async def enroll(
        self,
        wanted: Sequence[tuple[Member, Hardware]],
        tokens: dict[str, str],
        progress: ProgressCallback = lambda *_: None,
    ) -> Round:
        """Enrol devices; `tokens` has their users' tokens. Each that succeeded is kept at once."""
        hardware = {member.name: facts for member, facts in wanted}
        self._end_line()

        async def one(member: Member) -> int:
            place = self.folder / "devices" / member.name
            await self._client.enroll(place, tokens[member.upn], member.upn, hardware[member.name])
            with self._index.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(member)) + "\n")
            return 0

        return await self._each([member for member, _ in wanted], one, progress)

    def _end_line(self) -> None:
        """End a line that was cut off, so that it does not spoil the next one."""
        with self._index.open("a+b") as file:
            if file.tell() and _last_byte(file) != b"\n":
                file.write(b"\n")

    async def check_in(
        self, members: Iterable[Member] | None = None, progress: ProgressCallback = lambda *_: None
    ) -> Round:
        """Let devices, all unless named, check in once."""

        async def one(member: Member) -> int:
            return await self.open(member).check_in()

        return await self._each(list(self.members() if members is None else members), one, progress)

    async def _each(
        self, members: Sequence[Member], work: Callable[[Member], Awaitable[int]], progress: ProgressCallback
    ) -> Round:
        result, begin, waiting = Round(), time.perf_counter(), iter(members)

        async def worker() -> None:
            # All workers draw from one iterator: who is done takes the next.
            for member in waiting:
                started = time.perf_counter()
                try:
                    # Read after the wait: other workers add to it meanwhile.
                    sent = await work(member)
                    result.messages += sent
                    result.outcomes["ok"] += 1
                    result.seconds.append(time.perf_counter() - started)
                except (SessionFailed, EnrollmentRefused) as error:
                    result.outcomes[str(error)] += 1
                except Exception as error:
                    text = describe_defect(error)
                    if text not in result.outcomes:
                        _LOG.error("device %s: %s", member.name, text)
                    result.outcomes[text] += 1
                progress(result.outcomes.total(), len(members))

        await asyncio.gather(*(worker() for _ in range(min(self._at_once, len(members)))))
        result.took = time.perf_counter() - begin
        return result


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def _is_name(value: object) -> bool:
    """Return whether a value is the name of a folder right below the fleet's."""
    return isinstance(value, str) and value not in ("", ".", "..") and not {"/", "\\", "\0"} & set(value)
