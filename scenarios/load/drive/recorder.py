"""Records what Locust's users report, second by second. Workers send their counts to the master, which adds them up."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TextIO

import gevent
from locust.env import Environment
from locust.runners import WorkerRunner

from pfxlab.scenarios.load.judge.measured import PATH, STAGE, Cells, Measured
from pfxlab.scenarios.load.plan_file import LoadPlan

_KEY: Final = "pfxlab"
_TICK: Final = 0.25
LOCAL_DELAY: Final = 1
DISTRIBUTED_DELAY: Final = 4
"""Seconds until the counts of a second are complete: workers report once a second."""


class Recorder:
    """Listens to one Locust process."""

    def __init__(self, environment: Environment, plan: LoadPlan, samples: Path | None) -> None:
        """`samples`: the file to which the master, or the only process, writes a line for each second."""
        self._environment, self._plan = environment, plan
        self._cells, self._measured = Cells(), Measured(plan)
        self._begin: int | None = None
        self._file: TextIO | None = None if samples is None else samples.open("w", encoding="utf-8")
        self._folder = None if samples is None else samples.parent
        self._next = 0
        events = environment.events
        events.request.add_listener(self._request)
        events.report_to_master.add_listener(self._report)
        events.worker_report.add_listener(self._merge)
        events.test_start.add_listener(self._start)
        events.test_stop.add_listener(self._stop)
        events.quit.add_listener(self._save)

    def _start(self, **_: Any) -> None:
        # Clocks of several machines may differ by less than a second, the unit of counting.
        self._begin = round(time.time())
        if self._file is not None:
            gevent.spawn(self._write_samples)

    def _request(
        self, request_type: str, name: str, response_time: float, exception: BaseException | None = None,
        context: Mapping[str, Any] | None = None, **_: Any,
    ) -> None:  # fmt: skip
        more = context or {}
        # Locust's own HTTP client reports the method as type; requests that count for the path's rate carry units.
        kind = STAGE if request_type == STAGE or "units" not in more else PATH
        cell = self._cells.cell(int(time.time()), kind, name)
        if exception is not None:
            cell.failures += 1
            cell.causes[str(exception)[:200]] += 1
            return
        cell.latencies.append(round(response_time + more.get("late_ms", 0.0), 3))
        cell.units += more.get("units", 0)

    def note_unsent(self, name: str, units: int) -> None:
        """Count load that a simulated user was too late to send."""
        self._cells.cell(int(time.time()), PATH, name).unsent += units

    def _report(self, client_id: str, data: dict[str, Any]) -> None:
        data[_KEY] = self._cells.drain()

    def _merge(self, client_id: str, data: dict[str, Any]) -> None:
        self._add(data.get(_KEY, []))

    def _add(self, rows: list[list[Any]]) -> None:
        begin = self._begin or int(time.time())
        self._measured.add([[row[0] - begin, *row[1:]] for row in rows])

    def _write_samples(self) -> None:
        """Write each second once its counts are complete."""
        local = self._environment.runner.__class__.__name__ == "LocalRunner"
        delay = LOCAL_DELAY if local else DISTRIBUTED_DELAY
        while self._file is not None:
            gevent.sleep(_TICK)
            if local:
                self._add(self._cells.drain())
            self._write(int(time.time()) - delay)

    def _write(self, until: int) -> None:
        """Write the seconds before `until` that are not written yet."""
        if self._file is None or self._folder is None or self._begin is None:
            return
        begin = self._begin
        last = min(until - begin, int(self._plan.shape.seconds))
        while self._next < last:
            self._measured.offer(self._next)
            self._file.write(json.dumps(self._measured.sample(self._next)) + "\n")
            self._file.flush()
            self._next += 1

    def _stop(self, **_: Any) -> None:
        """Stop counting new seconds; late reports about earlier ones are still added."""
        if isinstance(self._environment.runner, WorkerRunner) or self._file is None:
            return
        self._add(self._cells.drain())
        self._write(int(time.time()))
        self._measured.close(self._next)
        self._file.close()
        self._file = None
        self._save()

    def _save(self, **_: Any) -> None:
        """Write the totals; again at the very end, when every worker has reported."""
        if self._folder is not None and self._begin is not None:
            (self._folder / "measured.json").write_text(json.dumps(self._measured.result()), encoding="utf-8")
