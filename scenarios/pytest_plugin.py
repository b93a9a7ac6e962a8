"""The pytest plugin: fixtures `pfxlab`, `pfxlab_graph`, `pfxlab_user` and `pfxlab_device`; see docs/pytest.md.

It is loaded by every pytest run of an environment with the lab in it, and costs nothing where no test asks for it.
"""

import importlib
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pfxlab.scenarios.testing import DeviceHandle, Graph, TestLab

_MARK = "pfxlab(users=[…], devices={name: platform}, switches={…}, start=moment, connector=bool): what a test's lab has"
_SHOWN_REFUSALS = 5


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's options."""
    group = parser.getgroup("pfxlab", "PFX Lab")
    group.addoption("--pfxlab-seed", type=int, default=7, help="Ids and chances of the lab derive from it (7).")
    group.addoption("--pfxlab-strict", action="store_true", help="A fault that never struck fails its test.")


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", _MARK)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Load the lab's packages once, before the first test that needs them is timed."""
    if any("_pfxlab_session" in getattr(item, "fixturenames", ()) for item in session.items):
        importlib.import_module("pfxlab.scenarios.testing")


@pytest.fixture(scope="session")
def _pfxlab_session(pytestconfig: pytest.Config) -> Iterator["TestLab"]:
    from pfxlab.scenarios.testing import LabSession

    with LabSession(seed=pytestconfig.getoption("--pfxlab-seed")) as lab:
        yield lab


@pytest.fixture
def pfxlab(_pfxlab_session: "TestLab", request: pytest.FixtureRequest) -> Iterator["TestLab"]:
    """Return a whole lab, as new: Graph, sign-in, Intune, a connector; devices as the mark `pfxlab` says, or none."""
    lab = _pfxlab_session
    lab.reset()
    mark = request.node.get_closest_marker("pfxlab")
    if mark is not None:
        _furnish(lab, **mark.kwargs)
    yield lab
    idle = lab.idle_faults()
    if idle and request.config.getoption("--pfxlab-strict"):
        pytest.fail(f"faults that never struck: {', '.join(f'{one.id} ({one.fault.kind})' for one in idle)}")


def _furnish(
    lab: "TestLab",
    users: tuple[str | dict[str, Any], ...] = (),
    devices: dict[str, str] | None = None,
    switches: dict[str, Any] | None = None,
    start: str | None = None,
    *,
    connector: bool = True,
) -> None:
    if start is not None:
        lab.set_clock(start)
    if switches:
        lab.call(lambda: lab.world.set_switches(**switches))
    if not connector:
        lab.run(lab.world.lab.stop_connector())
    for user in users:
        lab.add_user(**({"upn": user} if isinstance(user, str) else user))
    for name, platform in (devices or {}).items():
        lab.add_device(name, platform)


@pytest.fixture
def pfxlab_graph(pfxlab: "TestLab") -> "Graph":
    """Return Graph of the lab, in process and without a socket, signed in as the import tool."""
    return pfxlab.graph


@pytest.fixture
def pfxlab_user(pfxlab: "TestLab", request: pytest.FixtureRequest) -> str:
    """Return a mail user; parametrise it indirectly with user principal names."""
    return pfxlab.add_user(getattr(request, "param", pfxlab.user))


@pytest.fixture
def pfxlab_device(pfxlab: "TestLab", pfxlab_user: str, request: pytest.FixtureRequest) -> "DeviceHandle":
    """Return an enrolled device of `pfxlab_user`; parametrise it indirectly with platforms."""
    platform = getattr(request, "param", "ios")
    return pfxlab.add_device(platform, platform, pfxlab_user)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failed test what the lab knows."""
    report = yield
    lab = getattr(item, "funcargs", {}).get("pfxlab")
    if report.when == "call" and report.failed and lab is not None:
        report.sections.append(("PFX Lab", _explained(lab)))
    return report


def _explained(lab: "TestLab") -> str:
    """Return the lab's time and seed, where each certificate's way ends, and the latest refusals."""
    world = lab.world
    lines = [f"seed {world.lab.config.seed}, lab time {lab.now:%Y-%m-%d %H:%M:%S} UTC"]
    for upn in sorted({made.upn for made in world.certificates.issued.values()} | {lab.user}):
        for explanation in lab.explain(upn):
            where = f" on {explanation.device_name}" if explanation.device_name else ""
            what = (explanation.thumbprint or "certificates")[:16]
            if explanation.broken is None:
                lines.append(f"{what} of {upn}{where}: arrived")
            else:
                broken = explanation.broken
                lines.append(f"{what} of {upn}{where}: {broken.code}: {broken.evidence}. {broken.remedy}")
    for entry in lab.journal.find(outcome="refused")[-_SHOWN_REFUSALS:]:
        lines.append(
            f"refused: {entry.fields.get('method', '')} {entry.fields.get('path', entry.event)}: {entry.reason}"
        )
    lines += [f"fault that never struck: {one.id} ({one.fault.kind})" for one in lab.idle_faults()]
    return "\n".join(lines)
