"""The attack itself: it finds what it should, and nothing in this lab."""

import re
import ssl
from pathlib import Path
from random import Random

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.emulator.lab import control
from pfxlab.scenarios.control import bundle
from tests.attack.damage import KINDS
from tests.attack.files import Files, read_one
from tests.attack.recording import Recorded
from tests.attack.run import Findings, attack
from tests.scenarios.commands.test_odd_files import START


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


def test_reader_that_breaks_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rsa_key: rsa.RSAPrivateKey, whole: bool
) -> None:
    """Damaged files of every kind get the reader's own error; whatever else is raised is a failure."""
    like = Recorded("GET", "/", (), b"", ssl.create_default_context())
    files = Files.made(tmp_path, bundle.pack(bundle.Bundle("lab", START, {}, ["{}"])), rsa_key)
    random = Random(1)  # noqa: S311
    assert {read_one(files, like, random) for _ in range(2000 if whole else 40)} == {None}

    def broken(_: bytes) -> None:
        raise RuntimeError("seen")

    monkeypatch.setattr(bundle, "unpack", broken)
    assert "RuntimeError: seen" in str({read_one(files, like, random) for _ in range(40)})
