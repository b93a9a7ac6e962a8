"""Fixtures: keys made once, a running lab over a temporary folder."""

import gc
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from hypothesis import settings

from pfxlab.device_sim.keys import KeyPool
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.config import Config
from pfxlab.scenarios.lab import key_cache
from pfxlab.scenarios.lab.lab import Lab
from tests import campaign, tracing, watchdog

KEPT = Path(__file__).parent.parent / "build" / "test-keys"
KEPT.mkdir(parents=True, exist_ok=True, mode=0o700)
DEVICE_KEYS = KEPT / "device-keys.pem"
KEYS = KeyPool(DEVICE_KEYS, 12)
"""Identity keys of simulated devices; making one takes longer than most tests."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of `make campaign`."""
    parser.addoption("--campaign", action="store_true", help="Run what is long by nature, whole, and nothing else.")


def pytest_configure(config: pytest.Config) -> None:
    """Set how long tests are, before the first is read."""
    campaign.whole = bool(config.getoption("--campaign"))
    # Thousands of small tests leave little behind: looking for circles seldom saves a twentieth of the time.
    gc.set_threshold(100_000, 50, 100)
    # No test may depend on the machine's speed, an example of Hypothesis's neither.
    settings.register_profile("pfxlab", deadline=None, max_examples=campaign.examples(40, 1000))
    settings.load_profile("pfxlab")


def _is_long(item: pytest.Item) -> bool:
    marked = any(item.get_closest_marker(name) for name in ("campaign", "hypothesis"))
    return marked or "whole" in getattr(item, "fixturenames", ())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests of the mark `campaign` to `make campaign`, which runs them and those that are small without it."""
    if config.getoption("--campaign"):
        long = [one for one in items if _is_long(one)]
        config.hook.pytest_deselected(items=[one for one in items if one not in long])
        items[:] = long
        return
    for one in items:
        if one.get_closest_marker("campaign"):
            one.add_marker(pytest.mark.skip(reason="long by nature: make campaign"))


@pytest.fixture
def whole(request: pytest.FixtureRequest) -> bool:
    """Return whether a test is to be as long as it is by nature: in `make campaign`, not in `make test`."""
    return bool(request.config.getoption("--campaign"))


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    """Return an RSA-2048 key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def other_key() -> rsa.RSAPrivateKey:
    """Return another RSA-2048 key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def self_signed(key: rsa.RSAPrivateKey, name: str = "PFX Lab TEST ONLY", days: int = 30) -> x509.Certificate:
    """Return a certificate of a key for itself; negative `days` make an expired one."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


@pytest.fixture(scope="session")
def certificate(rsa_key: rsa.RSAPrivateKey) -> x509.Certificate:
    """Return a self-signed certificate of `rsa_key`."""
    return self_signed(rsa_key)


@pytest.fixture(scope="session", autouse=True)
def kept_keys() -> Iterator[None]:
    """Keep the shared key cache in a folder of this checkout, also for commands that tests start."""
    if not DEVICE_KEYS.exists():
        KEYS.fill()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(key_cache.VARIABLE, str(KEPT))
        yield


@pytest.fixture(scope="session", autouse=True)
def untraced_commands() -> Iterator[None]:
    """Measure no coverage in the commands that tests start, unless they ask for it: tests/tracing.py."""
    with tracing.commands_untraced():
        yield


@pytest.fixture(scope="session", autouse=True)
def runtime_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the ready files of this test run in a separate folder, so that its commands find no other lab."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        patch.delenv("PFXLAB_READY_FILE", raising=False)
        yield


@pytest.fixture(autouse=True)
def watched_loops() -> Iterator[None]:
    """Fail a test in which one step of a server's request holds the loop for long: tests/watchdog.py."""
    with watchdog.watching() as slow:
        yield
    assert not slow, "; ".join(map(str, slow))


def new_lab(folder: Path, config: Config | None = None, **more: Any) -> Lab:
    """Return a lab over a folder; a new one starts with the keys of this test run, which are costly to generate."""
    if not (folder / "cloud").exists():
        key_cache.lay_out(folder)
    made = Lab(folder, config, **more)
    made.new_key = KEYS
    return made


def movable_wall(lab: Lab) -> LabClock:
    """Give a lab a wall clock that a test can move, as no client could; return it."""
    wall = LabClock()
    lab.cloud.wall = wall
    return wall


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Return a running lab, without connector and devices; its authorities' keys are the test run's, made once."""
    async with new_lab(tmp_path / "lab") as running:
        yield running
