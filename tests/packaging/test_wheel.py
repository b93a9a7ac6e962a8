"""The wheel beside packages of other projects, and the single import name in a checkout and from a wheel."""

import os
import subprocess
import sys
import sysconfig
import textwrap
import venv
import zipfile
from pathlib import Path

import pytest

from pfxlab import PARTIES

ROOT = Path(__file__).parents[2]
_NOT_OURS = ("COV_", "COVERAGE", "PYTHONPATH", "PFXLAB_", "PYTEST_")


def build(source: Path, out: Path) -> Path:
    """Build the wheel of a project and return it; nothing is downloaded."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--no-index", "--no-build-isolation", "--wheel-dir", str(out), str(source)],
        capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("*.whl")
    return wheel


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment without the variables of this test run."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)} | more


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built from a copy of the files that git knows, so that the checkout stays as it is."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    source = tmp_path_factory.mktemp("source")
    for name in filter(None, listed.split("\0")):
        if not (ROOT / name).is_file():
            continue
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    return build(source, tmp_path_factory.mktemp("wheel"))


_OWN = {
    **{f"{name}/__init__.py": "OWN = True\n" for name in (*PARTIES, "tests")},
    "tests/test_own.py": """
        import sys

        import connector_sim, device_sim, emulator, scenarios, tests


        def test_own_packages_are_the_projects(pfxlab):
            assert all(one.OWN for one in (connector_sim, device_sim, emulator, scenarios, tests))
            mail = pfxlab.certificate()
            pfxlab.import_certificate(mail)
            assert pfxlab.graph.get("/beta/deviceManagement/userPfxCertificates")["value"][0]["thumbprint"]
            assert sys.modules["pfxlab.emulator"] is not emulator
    """,
    "plan.yaml": """
        title: a small run
        path: crypto
        shape: {kind: constant, rate: 20, seconds: 2, steps: 1}
        batch: 5
        pace: 1
    """,
}


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a virtual environment with the wheel and a second distribution that ships a top-level `emulator`."""
    other = tmp_path_factory.mktemp("other")
    (other / "emulator").mkdir()
    (other / "emulator" / "__init__.py").write_text("OTHERS = True\n")
    (other / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "other-emulator"\nversion = "1"\n[tool.setuptools]\npackages = ["emulator"]\n'
    )
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    packages = next((folder / "lib").glob("python3*/site-packages"))
    # What the wheel depends on comes from the environment of this test run.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    wheels = [str(wheel), str(build(other, tmp_path_factory.mktemp("other-wheel")))]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python), "install", "--quiet",
         "--no-deps", "--no-index", *wheels],
        capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project that has packages with the names of our folders."""
    folder = tmp_path_factory.mktemp("project")
    for name, text in _OWN.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
    return folder


def test_wheel_has_one_top_level_package(wheel: Path) -> None:
    """The wheel contains `pfxlab` with its data files and metadata, and no tests."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"pfxlab", "pfxlab-0.1.0.dist-info"}
    assert not [name for name in names if "/tests/" in name]
    tracked = subprocess.run(["git", "ls-files", *PARTIES], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {f"pfxlab/{name}" for name in tracked.split()} <= set(names)


@pytest.mark.parametrize(
    "command",
    [
        ("pytest", "-q", "-p", "no:cacheprovider"),
        ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        ("pfxlab", "exec", "--", "python", "-c", "import scenarios, emulator; assert scenarios.OWN and emulator.OWN"),
        ("pfxlab", "load", "plan.yaml", "--json"),
    ],
    ids=["pytest", "python -m pytest", "exec", "load"],
)
def test_project_with_packages_of_the_same_names_is_not_disturbed(
    site: Path, project: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Every entry point works beside a project's and another distribution's `scenarios`, `emulator` and so on."""
    path = f"{site / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    name, *arguments = command
    program = site / "bin" / name
    # pytest's own script belongs to the environment of this test run; the project's python runs it all the same.
    called = [str(program)] if program.exists() else [str(site / "bin" / "python"), _script(name)]
    if name == "pfxlab" and arguments[0] == "load":
        arguments += ["--out", str(tmp_path / "report")]
    own = {"PATH": path, **({"PYTHONPATH": "."} if arguments[0] == "exec" else {})}
    done = subprocess.run(
        [*called, *arguments], cwd=project, capture_output=True, text=True, check=False, env=environment(**own)
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _script(name: str) -> str:
    return str(Path(sys.executable).parent / name)


_IMPORT_ALL = """
import collections, importlib, pkgutil, sys
import pfxlab
for party in pfxlab.PARTIES:
    package = importlib.import_module(f"pfxlab.{party}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("locustfile"):
            importlib.import_module(module.name)
top = set(sys.modules) & {*pfxlab.PARTIES, "tests"}
assert not top, f"top-level modules of ours: {top}"
files = collections.defaultdict(list)
for name, module in list(sys.modules.items()):
    if getattr(module, "__file__", None) and name.startswith("pfxlab"):
        files[module.__file__].append(name)
assert len(files) > 250, len(files)
twice = {file: names for file, names in files.items() if len(names) > 1}
assert not twice, twice
try:
    importlib.import_module("pfxlab.tests")
except ImportError:
    pass
else:
    raise AssertionError("pfxlab.tests can be imported")
with pfxlab.lab() as lab:
    assert lab.graph.get("/beta/deviceManagement/userPfxCertificates").status == 200
print(pfxlab.__file__, pfxlab.__version__)
"""


@pytest.mark.parametrize("where", ["checkout", "wheel"])
def test_every_module_is_loaded_under_one_name(site: Path, tmp_path: Path, where: str) -> None:
    """None of our modules is loaded at the top level or under two names, and `pfxlab.lab()` returns a lab."""
    python = sys.executable if where == "checkout" else str(site / "bin" / "python")
    folder = ROOT if where == "checkout" else tmp_path
    done = subprocess.run(
        [python, "-c", _IMPORT_ALL], cwd=folder, capture_output=True, text=True, check=False, env=environment()
    )
    assert done.returncode == 0, done.stderr
    place, version = done.stdout.split()
    assert Path(place).is_relative_to(ROOT if where == "checkout" else site)
    assert version == "0.1.0"


@pytest.mark.parametrize("where", ["checkout", "wheel"])
def test_module_is_the_command(site: Path, tmp_path: Path, where: str) -> None:
    """`python -m pfxlab` is the command, and says so in its usage."""
    python = sys.executable if where == "checkout" else str(site / "bin" / "python")
    folder = ROOT if where == "checkout" else tmp_path
    done = subprocess.run(
        [python, "-m", "pfxlab", "--help"], cwd=folder, capture_output=True, text=True, check=False, env=environment()
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: python -m pfxlab")
