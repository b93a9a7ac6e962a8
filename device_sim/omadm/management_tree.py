"""The management tree of an OMA-DM device: which node a command reaches, in which scope, and what it gets.

Sources: sources.md#csp-scope, sources.md#syncml-statuses, sources.md#intune-on-the-wire (unknown nodes answer 404).
"""

from collections.abc import Callable, Mapping
from typing import Final

from pfxlab.device_sim.omadm.pfx_cert_install import (
    BAD_REQUEST,
    FAILED,
    NO_USER,
    NOT_ALLOWED,
    NOT_FOUND,
    CommandResult,
    PfxCertInstall,
)
from pfxlab.emulator.wire.omadm.syncml import Atomic, Verb

Action = Callable[[Verb], CommandResult]

_USER: Final = "./User/"
_DEVICE: Final = "./Device/"


class ManagementTree:
    """Leaf values (`facts`, by URI), executable nodes (`actions`), and the PFXCertInstall nodes of one device."""

    def __init__(self, pfx: PfxCertInstall, facts: Mapping[str, str], actions: Mapping[str, Action]) -> None:
        self._pfx = pfx
        self._facts, self._actions = dict(facts), dict(actions)

    def update(self, facts: Mapping[str, str]) -> None:
        """Take other leaf values."""
        self._facts = dict(facts)

    def single(self, verb: Verb, *, user_active: bool) -> CommandResult:
        """Carry out one command outside an Atomic."""
        target = _target(verb)
        if target is None:
            return BAD_REQUEST
        if target.startswith(_USER) and not user_active:
            return NO_USER
        if self._pfx.holds(target):
            return self._pfx.single(verb)
        return self._elsewhere(verb, target)

    def _elsewhere(self, verb: Verb, target: str) -> CommandResult:
        known = _of_device(target)
        if target.startswith(_USER) and (known in self._facts or known in self._actions):
            # The node exists in the device's scope only.
            return NOT_ALLOWED
        if known in self._actions:
            return self._actions[known](verb) if verb.name == "Exec" else NOT_ALLOWED
        if known not in self._facts:
            return NOT_FOUND
        return CommandResult("200", data=self._facts[known], format="chr") if verb.name == "Get" else NOT_ALLOWED

    async def atomic(self, command: Atomic, *, user_active: bool) -> tuple[CommandResult, list[CommandResult]]:
        """Carry out all commands of an Atomic or none."""
        targets = [_target(verb) or "" for verb in command.commands]
        if not user_active and any(target.startswith(_USER) for target in targets):
            return CommandResult("507"), [NO_USER for _ in targets]
        if not targets:
            return FAILED, []
        return await self._pfx.atomic(command)


def _target(verb: Verb) -> str | None:
    """Return the URI a command addresses, None for one that breaks the rules of A6."""
    target = verb.items[0].target if verb.items else None
    return None if not target or target.startswith("/") else target


def _of_device(uri: str) -> str:
    """Return a URI as the tree names it: without the scope, which is the device's when none is given."""
    for scope in (_USER, _DEVICE):
        if uri.startswith(scope):
            return f"./{uri.removeprefix(scope)}"
    return uri
