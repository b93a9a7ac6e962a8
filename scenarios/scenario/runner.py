"""Runs scenarios, each in its own stepped lab: the same seed gives the same journal."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pfxlab.device_sim.keys import KeyPool
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.config import Config
from pfxlab.emulator.store.journal_entries import Entry
from pfxlab.scenarios import ending
from pfxlab.scenarios.lab.config_file import config_of
from pfxlab.scenarios.lab.key_cache import kept_keys, lay_out
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.softhsm_missing import NoHsm
from pfxlab.scenarios.lab.world import World
from pfxlab.scenarios.scenario import steps
from pfxlab.scenarios.scenario.loader import Scenario

Outcome = Literal["passed", "failed", "skipped"]
_ALL_ENTRIES = 10_000_000


@dataclass
class Run:
    """The result of a scenario. `why`: what failed, with the line; `idle_faults`: those that never struck."""

    scenario: Scenario
    seed: int
    outcome: Outcome = "passed"
    seconds: float = 0.0
    why: str = ""
    steps: list[str] = field(default_factory=list)
    idle_faults: list[str] = field(default_factory=list)
    journal: list[Entry] = field(default_factory=list)
    end: dict[str, Any] = field(default_factory=dict)
    """Clock, switches and faults at the end."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        shown = {
            "name": self.scenario.name,
            "outcome": self.outcome,
            "seconds": round(self.seconds, 3),
            "why": self.why,
        }
        return {**shown, "idleFaults": self.idle_faults}


Progress = Callable[[str], None]


async def run(
    scenario: Scenario,
    seed: int | None = None,
    keys: KeyPool | None = None,
    progress: Progress = lambda _: None,
    *,
    strict: bool = False,
) -> Run:
    """Run a scenario. `progress` is called after each step; `strict`: a fault that never struck fails it."""
    chosen = scenario.seed if seed is None else seed
    done, began = Run(scenario, chosen), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="pfxlab-scenario-") as folder:
        config = replace(config_of(switches=scenario.switches), seed=chosen)
        await _run_in(Path(folder), config, done, keys, progress)
    if strict and done.outcome == "passed" and done.idle_faults:
        done.outcome, done.why = "failed", f"faults that never struck: {', '.join(done.idle_faults)}"
    done.seconds = time.perf_counter() - began
    return done


async def _run_in(folder: Path, config: Config, done: Run, keys: KeyPool | None, progress: Progress) -> None:
    lay_out(folder)
    # Nothing of a scenario depends on the machine's time: both clocks stand where it begins.
    start = done.scenario.start
    lab = Lab(folder, config, at=start, stepped=True, wall=LabClock(start))
    if keys is not None:
        lab.new_key = keys
    async with lab, World(lab).opened() as world:
        for number, step in enumerate(done.scenario.steps):
            try:
                text = await steps.perform(world, step)
            except NoHsm as error:
                done.outcome, done.why = "skipped", str(error)
                break
            except Exception as error:
                # An error in the lab itself fails one scenario, not all of them.
                text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
                done.outcome = "failed"
                done.why = f"line {done.scenario.lines[number]}, {next(iter(step))}: {text}"
                break
            done.steps.append(text)
            progress(text)
        done.idle_faults = [f"{one.id} ({one.fault.kind})" for one in world.faults.idle()]
        cloud = lab.cloud
        done.end = {
            "time": cloud.clock.now().isoformat(),
            "switches": asdict(cloud.config.switches),
            "faults": [one.to_json() for one in world.faults.all()],
        }
        done.journal = lab.cloud.journal.entries(limit=_ALL_ENTRIES)


def run_all(
    scenarios: Sequence[Scenario],
    seed: int | None,
    began: Callable[[Scenario], Progress],
    ended: Callable[[Run], None],
    *,
    strict: bool = False,
) -> list[Run]:
    """Run scenarios one after the other; keys of devices and certificates are generated once for all of them."""
    with kept_keys(24) as keys:

        async def every() -> list[Run]:
            runs = []
            for scenario in scenarios:
                keys.begin_anew()
                runs.append(await run(scenario, seed, keys, began(scenario), strict=strict))
                ended(runs[-1])
            return runs

        return ending.run(every())
