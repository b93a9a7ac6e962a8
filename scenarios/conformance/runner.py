"""Runs a tool through a plan, on one lab for each parallel job, and judges what it did."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pfxlab.device_sim.keys import KeyPool
from pfxlab.emulator.config import Config
from pfxlab.emulator.faults.plan import read_fault
from pfxlab.emulator.journal.exchanges import Recorder
from pfxlab.scenarios.conformance.evidence import Rule, ToolRun
from pfxlab.scenarios.conformance.offered import RIGHTS
from pfxlab.scenarios.conformance.plans import Module, Plan
from pfxlab.scenarios.conformance.rules import RULES
from pfxlab.scenarios.conformance.stage import Stage
from pfxlab.scenarios.conformance.tool import CannotStart, MissingArgument, Service, Tool
from pfxlab.scenarios.conformance.verdict import Judgement, NotJudged, judge, reason_of, with_expected
from pfxlab.scenarios.lab.key_cache import key_pool, lay_out
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.world import World

Progress = Callable[[Module, ToolRun | NotJudged], None]


async def open_stage(stack: AsyncExitStack, rights: Sequence[str], keys: KeyPool) -> Stage:
    """Return a lab for a tool under test; the stack closes it."""
    place = Path(stack.enter_context(TemporaryDirectory(prefix="pfxlab-conformance-")))
    lay_out(place / "lab")
    lab, recorder = Lab(place / "lab", Config()), Recorder()
    lab.new_key = keys
    lab.emulator.observer = recorder
    await stack.enter_async_context(lab)
    world = World(lab)
    stack.push_async_callback(world.close)
    await world.begin_here()
    (place / "files").mkdir(mode=0o700)
    return Stage(world, recorder, place / "files", rights)


class NotPlayed(Exception):
    """The tool could not be started, so that there is nothing to judge."""


async def play(stage: Stage, plan: Plan, module: Module, tool: Tool | Service) -> ToolRun | NotJudged:
    """Run the tool in one module; the lab is reset before. If the lab fails, return how.

    Raises:
        NotPlayed: the tool could not be started.

    """
    try:
        return await _play(stage, plan, module, tool)
    except (CannotStart, MissingArgument) as error:
        raise NotPlayed(f"module {module.name}: {error}") from error
    except Exception as error:
        return NotJudged(module.name, reason_of(error))


async def _play(stage: Stage, plan: Plan, module: Module, tool: Any) -> ToolRun:
    await stage.begin()
    await module.prepare(stage)
    if module.switches:
        stage.world.set_switches(**module.switches)
    for fault in module.faults:
        stage.world.faults.plan(read_fault(dict(fault)))
    facts = {"plan": plan.name, "plain": module.plain, "passing": module.passing, "unclear": module.unclear}
    stage.facts |= facts

    def judged(here: Stage) -> Mapping[str, Any]:
        return {"reached": module.reached(here)}

    if module.drive is not None:
        return await stage.play_service(tool, module.name, module.seconds, module.drive, judged)
    return await stage.play(tool, module.name, module.seconds, judged)


async def run(
    plan: Plan,
    tool: Tool | Service,
    shown: str,
    *,
    rights: Sequence[str] = RIGHTS,
    only: Sequence[str] = (),
    rules: Mapping[str, Rule] = RULES,
    expected: Mapping[str, str] | None = None,
    jobs: int = 2,
    seconds: float | None = None,
    stages: Sequence[Stage] = (),
    progress: Progress = lambda _, __: None,
) -> Judgement:
    """Run a tool through a plan and judge it. `only`: modules by name; `expected`: rules known to fail.

    A module or rule in which the lab fails is not judged; the others are.

    `seconds`: how long a run may take, in place of what its module says. `stages`: labs that are open already, in
    place of new ones.

    Raises:
        NotPlayed: the tool could not be started.

    """
    began = time.perf_counter()
    modules = [module for module in plan.modules if not only or module.name in only]
    waiting = iter(modules)
    runs: dict[str, ToolRun | NotJudged] = {}
    keys = await asyncio.to_thread(key_pool)

    async def worker(stage: Stage) -> None:
        # All workers take modules from one iterator, so that none is idle while one is left.
        for module in waiting:
            timed = module if seconds is None else replace(module, seconds=seconds)
            runs[module.name] = await play(stage, plan, timed, tool)
            progress(module, runs[module.name])

    async with AsyncExitStack() as stack:
        opened = stages or [await open_stage(stack, rights, keys) for _ in range(min(jobs, len(modules)))]
        workers = [asyncio.create_task(worker(stage)) for stage in opened]
        try:
            await asyncio.gather(*workers)
        finally:
            # If one fails, the others are cancelled, and stop their tools.
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    came = [runs[module.name] for module in modules]
    played = [one for one in came if isinstance(one, ToolRun)]
    not_played = [one for one in came if isinstance(one, NotJudged)]
    skipped = [module.name for module in plan.modules if module not in modules]
    mine = [rule for rule in rules.values() if plan.name in rule.plans]
    judged = [judge(rule, played, skipped, not_played) for rule in mine]
    verdicts = with_expected(judged, expected or {}, [*skipped, *(one.module for one in not_played)])
    return Judgement(plan.name, shown, verdicts, played, skipped, time.perf_counter() - began, not_played)
