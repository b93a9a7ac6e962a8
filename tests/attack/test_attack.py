"""The attack itself: it finds what it should, and nothing in this lab."""

import re

import pytest
from aiohttp import web

from pfxlab.emulator.lab import control
from tests.attack.damage import KINDS
from tests.attack.run import Findings, attack


def problems(found: Findings) -> list[str]:
    """Return each kind of failure with the request that showed it first."""
    return [f"{times} times {text}; first: {found.first[text]}" for text, times in found.failures.items()]


def test_damaged_requests_of_every_protocol_find_nothing(whole: bool) -> None:
    """Damaged requests get no unasked 5xx, no traceback and no secret, whatever protocol and kind of damage."""
    found = attack(7, 3600.0, None if whole else 150, devices=whole)
    assert problems(found) == []
    assert set(found.kinds) == set(KINDS)


def test_defect_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A component that breaks on a request is a failure of the attack: its 500, its log, its journal entry; no token is shown."""

    def broken(_: web.Request) -> None:
        raise RuntimeError("seen")

    monkeypatch.setattr(control, "_check_token", broken)
    made = attack(7, 3600.0, 60, devices=False)
    found = " ".join(problems(made))
    assert "RuntimeError: seen" in found
    assert "journal: bug in the lab: RuntimeError in broken" in found
    assert "times 500 " in found
    assert "Bearer …" in found
    assert not re.search(r"Bearer [\w.-]{20}", " ".join([found, made.slowest[1]]))
