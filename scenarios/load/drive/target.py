"""The target of a load run: an emulator in its own process and, for paths that need one, a connector in another.

Separate processes make each party's CPU time measurable, and let none block another.
"""

import asyncio
import multiprocessing
import signal
from contextlib import suppress
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from pfxlab.connector_sim.keys.installed import InstalledProviders, SoftwarePlace
from pfxlab.connector_sim.service import Connector, Settings, enroll
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.store.delivery_states import State, Trigger
from pfxlab.scenarios import ending
from pfxlab.scenarios.ending import deferred
from pfxlab.scenarios.lab.key_cache import lay_out
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.ready_file import ready
from pfxlab.scenarios.load.drive import prepare
from pfxlab.scenarios.load.drive.kit import Kit, new_kit
from pfxlab.scenarios.load.drive.material import Material, queue_up
from pfxlab.scenarios.load.plan_file import LoadPlan

_QUEUE: Final = 10_000
_RECYCLED: Final = 2_000
_RECYCLE_SECONDS: Final = 0.2

NEEDS_CONNECTOR: Final = ("checkin", "enrollment")


async def _recycle(lab: Lab) -> None:
    """Keep the queue of a run of connectors full: deliveries that are ready are requested again, without end."""
    cloud, tenant = lab.cloud, lab.operator.credentials.tenant_id
    while True:
        await asyncio.sleep(_RECYCLE_SECONDS)
        while cloud.deliveries.count(tenant, State.REQUESTED) < _QUEUE // 2:
            with cloud.store.atomic():
                now = cloud.clock.now()
                cloud.deliveries.step_many(State.READY, Trigger.SOURCE_CHANGED, now, _RECYCLED)
                cloud.deliveries.step_many(State.WANTED, Trigger.DEVICE_ASKED, now)
            await asyncio.sleep(0)
            if not cloud.deliveries.count(tenant, State.READY):
                break


async def _emulate(folder: Path, plan: LoadPlan, kit_folder: Path, pipe: Pipe) -> None:
    lay_out(folder)
    lab = Lab(folder)
    material = Material(plan.key_bits) if plan.path == "connector" else None
    if material is not None:
        weights = [platform for platform, weight in plan.platforms.items() for _ in range(weight)]
        queue_up(lab, material, material.ciphertexts(_QUEUE), platforms=weights)
    async with lab:
        operator = lab.operator.credentials
        token = await lab.user_token(operator.operator_upn, operator.operator_password)
        facts = {**ready(lab), "operator_token": token}
        recycler = None
        if material is not None:
            kit = new_kit(kit_folder, plan, facts)
            await prepare.connectors(kit, material.key, facts["operator_token"])
            recycler = asyncio.create_task(_recycle(lab))
        pipe.send(facts)
        await asyncio.to_thread(pipe.recv)
        if recycler is not None:
            recycler.cancel()


async def _connect(facts: dict[str, Any], folder: Path, pipe: Pipe) -> None:
    settings = Settings(facts["graph_url"], Path(facts["ca_file"]), wait_seconds=5)
    who = await enroll(settings, facts["operator_token"], folder / "load", "connector under load", "LOAD-SERVER")
    providers = InstalledProviders([SoftwarePlace(str(folder / "connector" / "keys"))])
    connector = Connector(settings, who, providers, LabClock(), lambda _: None)
    await connector.start()
    pipe.send("ready")
    await asyncio.to_thread(pipe.recv)
    await connector.stop()


def _emulator_process(folder: str, plan: LoadPlan, kit_folder: str, pipe: Pipe) -> None:
    # Ctrl-C goes to the command, which stops the load before it stops the target.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, BrokenPipeError):
        asyncio.run(_emulate(Path(folder), plan, Path(kit_folder), pipe))


def _connector_process(facts: dict[str, Any], folder: str, pipe: Pipe) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, BrokenPipeError):
        asyncio.run(_connect(facts, Path(folder), pipe))


class Target:
    """A lab for one run. `facts`: those of its ready file; `parties`: process ids by party."""

    def __init__(self, folder: Path, plan: LoadPlan, kit: Path) -> None:
        self._ends: list[tuple[Pipe, BaseProcess]] = []
        self.parties: dict[str, int] = {}
        folder.mkdir(mode=0o700)
        try:
            self.facts: dict[str, Any] = self._start("emulator", _emulator_process, str(folder), plan, str(kit))
            if plan.path in NEEDS_CONNECTOR:
                (folder / "load").mkdir(mode=0o700)
                self._start("connector", _connector_process, self.facts, str(folder))
        except BaseException:
            self.stop()
            raise

    def _start(self, party: str, work: Any, *arguments: Any) -> Any:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(*arguments, theirs), name=party)
        with deferred():
            process.start()
        theirs.close()
        self._ends.append((ours, process))
        self.parties[party] = process.pid or 0
        try:
            return ours.recv()
        except EOFError:
            raise RuntimeError(f"expected the {party} to start, it ended") from None

    def stop(self) -> None:
        """Stop the parties, the last started first."""
        while self._ends:
            pipe, process = self._ends.pop()
            with suppress(OSError):
                pipe.send("stop")
            process.join(20)
            if process.is_alive():
                process.kill()
                process.join()


def kit_for(plan: LoadPlan, folder: Path, facts: dict[str, Any] | None, progress: prepare.Progress) -> Kit:
    """Return the filled kit of a run. For the path connector, the target has filled it already.

    Raises:
        CannotPrepare: the target did not accept what the run needs.
        GraphRefused: Graph's error.

    """
    if plan.path == "connector":
        return Kit(folder)
    kit = new_kit(folder, plan, facts)
    if plan.path == "crypto":
        prepare.crypto(kit, progress)
    elif plan.path == "graph":
        ending.run(prepare.graph(kit, progress))
    else:
        ending.run(prepare.devices(kit, progress))
    return kit
