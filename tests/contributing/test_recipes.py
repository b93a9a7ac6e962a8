"""The recipes of CONTRIBUTING.md: complete lists of files, existing code, samples that pass the checks.

`samples/` has a patch for each recipe. When one no longer applies: make its change by hand, then
`git diff -U1 -- . ':!docs' > tests/contributing/samples/NAME.diff`.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SAMPLES: Final = Path(__file__).parent / "samples"
BIN: Final = Path(sys.executable).parent
CHECKS: Final = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
"""The commands of `make check`."""


@dataclass(frozen=True)
class Recipe:
    """A recipe: the files it lists, the code it shows, line by line, and the command that runs its tests."""

    files: list[str]
    code: list[str]
    command: str


def read(section: str) -> Recipe:
    """Return the recipe of a section; the title of an item is the text before its first colon."""
    steps, _, command = section.partition("\n```sh\n")
    heads = re.findall(r"^\d+\. ([^:]+):", steps, re.MULTILINE)
    files = [name for head in heads for name in re.findall(r"`([^`]+)`", head)]
    blocks = re.findall(r"^ *```(?:python|text)\n(.*?)^ *```$", steps, re.MULTILINE | re.DOTALL)
    code = [line.strip() for block in blocks for line in block.splitlines() if line.strip()]
    return Recipe(files, code, command.partition("```")[0])


_SECTIONS: Final = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("\n## Recipes\n")[2].split("\n### ")[1:]
RECIPES: Final = {
    section.partition("\n")[0].removeprefix("A ").lower().replace(" ", "-"): read(section) for section in _SECTIONS
}


def run(checkout: Path, command: str) -> str:
    """Return the output of a command run in a checkout; it must succeed."""
    strange = ("COV", "GIT_", "PYTEST_", "PYTHONPATH")  # of the run that this test is part of
    held = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", command],
        cwd=checkout,
        env={**held, "PATH": path, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def touched(patch: Path) -> list[str]:
    """Return the files that a patch changes or makes."""
    return re.findall(r"^\+\+\+ b/(.+)$", patch.read_text("utf-8"), re.MULTILINE)


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[[], Path]:
    """Return a function that copies this checkout with its caches: mypy's, the tests' keys, Node's packages."""

    def copied() -> Path:
        there = tmp_path / "checkout"
        for name in run(ROOT, "git ls-files").splitlines():
            if (ROOT / name).is_file():
                (there / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, there / name)
        if (ROOT / ".mypy_cache").is_dir():
            shutil.copytree(ROOT / ".mypy_cache", there / ".mypy_cache")
        run(there, "make --silent build/typed/pfxlab && git init --quiet && git add --all")
        (there / "build" / "test-keys").symlink_to(ROOT / "build" / "test-keys")
        node = Path("tests") / "clients" / "node" / "node_modules"
        if (ROOT / node).is_dir():
            (there / node).symlink_to((ROOT / node).resolve())
        return there

    return copied


def test_every_recipe_has_a_sample() -> None:
    """There are four recipes, and a sample for each."""
    assert sorted(RECIPES) == ["conformance-rule", "fault-kind", "graph-resource", "platform"]
    assert sorted(patch.stem for patch in SAMPLES.iterdir()) == sorted(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_lists_every_file(name: str) -> None:
    """A recipe lists exactly the files that its sample changes, apart from generated pages."""
    listed = [file for file in RECIPES[name].files if not file.startswith("docs/")]
    assert sorted(listed) == sorted(touched(SAMPLES / f"{name}.diff"))


@pytest.mark.parametrize("name", RECIPES)
def test_code_of_a_recipe_is_real(name: str) -> None:
    """Each line of code shown in a recipe is added by its sample."""
    added = re.findall(r"^\+(?!\+\+ )(.*)$", (SAMPLES / f"{name}.diff").read_text("utf-8"), re.MULTILINE)
    assert RECIPES[name].code
    assert sorted(set(RECIPES[name].code) - {line.strip() for line in added}) == []


def apply(there: Path, *names: str) -> None:
    """Apply samples in a checkout and make the pages; they must change exactly the files that their recipes list."""
    for name in names:
        run(there, f"git apply --unidiff-zero {SAMPLES / f'{name}.diff'}")
    run(there, "python -m pfxlab.scenarios.reference")
    changed = run(there, "git diff --name-only && git ls-files --others --exclude-standard").splitlines()
    assert set(changed) == {file for name in names for file in RECIPES[name].files}
    run(there, "git add --all")  # house rules look at the files that Git knows


def words_of(command: str) -> tuple[list[str], str]:
    """Return the tests of a recipe's command, and its expression for `-k` as one that leaves all other files whole."""
    words = shlex.split(command)[3:]
    if "-k" not in words:
        return words, ""
    (file, _, expression) = words
    return [file], f"({expression} or not {Path(file).stem})"


def check(there: Path, *names: str) -> None:
    """Run `make check` and the tests of some recipes in a checkout."""
    assert CHECKS is not None
    run(there, CHECKS[1].replace("$(BIN)/", "").replace("../../lint", "lint"))
    tests, expressions = zip(*(words_of(RECIPES[name].command) for name in names), strict=True)
    chosen = " and ".join(filter(None, expressions))
    files = shlex.join(dict.fromkeys(file for some in tests for file in some))
    run(there, f"python -m pytest -q -n 0 -p no:cacheprovider {files} -k {shlex.quote(chosen)}")


def test_samples_pass_the_checks(checkout: Callable[[], Path]) -> None:
    """Each sample changes the files its recipe lists; with all four a checkout passes `make check` and their tests."""
    there = checkout()
    apply(there, *RECIPES)
    check(there, *RECIPES)


@pytest.mark.campaign
@pytest.mark.parametrize("name", RECIPES)
def test_sample_passes_the_checks_alone(name: str, checkout: Callable[[], Path]) -> None:
    """A checkout with one sample passes `make check` and the recipe's tests."""
    there = checkout()
    apply(there, name)
    check(there, name)
