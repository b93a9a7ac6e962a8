"""The Locust file: users, load shape and recorder for the kit in PFXLAB_LOAD_KIT. `pfxlab load` starts it."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import gevent
import locust.runners
from locust import LoadTestShape, events
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from pfxlab.scenarios.load.drive.kit import Kit
from pfxlab.scenarios.load.drive.recorder import Recorder
from pfxlab.scenarios.load.drive.users import user_class

_KIT = Kit(Path(os.environ["PFXLAB_LOAD_KIT"]))
_SPAWN_RATE = 500.0 * _KIT.plan.processes
_GRACE = 2.0
_READY = "pfxlab ready"

# Workers report every second, so that the live table is up to date.
locust.runners.WORKER_REPORT_INTERVAL = 1.0


class _Run:
    """State shared by the parts of this process."""

    recorder: Recorder | None = None
    ready = 0

    def note_unsent(self, name: str, units: int) -> None:
        """Pass unsent load on to the recorder, once there is one."""
        if self.recorder is not None:
            self.recorder.note_unsent(name, units)


_RUN = _Run()
LoadUser, _TEAM = user_class(_KIT, _RUN)


class PlannedLoad(LoadTestShape):
    """The plan's shape, in simulated users."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = False

    def tick(self) -> tuple[int, float] | None:
        """Return how many users there should be now; None at the end. The first call waits for every crew."""
        if not self._begun:
            wanted = _KIT.plan.processes if isinstance(self.runner, MasterRunner) else 1
            while _RUN.ready < wanted:
                gevent.sleep(0.05)
            # Start on a whole second: results are counted by whole seconds.
            gevent.sleep(1 - time.time() % 1)
            self._begun = True
            self.reset_time()
        now = self.get_run_time()
        rate = _KIT.plan.shape.at(now)
        if rate is None:
            # No new requests; those in progress finish and are reported.
            return (0, _SPAWN_RATE) if now < _KIT.plan.shape.seconds + _GRACE else None
        return _KIT.plan.users_for(rate), _SPAWN_RATE


@events.init.add_listener
def _begin(environment: Environment, **_: Any) -> None:
    runner = environment.runner
    samples = None if isinstance(runner, WorkerRunner) else _KIT.folder / "samples.jsonl"
    _RUN.recorder = Recorder(environment, _KIT.plan, samples)
    if runner is not None and not isinstance(runner, WorkerRunner):
        # Locust installs its own handler only after the run; until then a signal would kill it silently.
        gevent.signal_handler(signal.SIGTERM, runner.quit)
    if isinstance(runner, MasterRunner):
        runner.register_message(_READY, _count_ready)
        return
    _TEAM.start(getattr(runner, "worker_index", 0) % _KIT.plan.processes)
    if isinstance(runner, WorkerRunner):
        runner.send_message(_READY)
    _RUN.ready = 1


def _count_ready(**_: Any) -> None:
    _RUN.ready += 1


@events.quitting.add_listener
def _end(**_: Any) -> None:
    _TEAM.stop()
