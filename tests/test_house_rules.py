"""Checks of the project's rules: docstrings of tests, documents that match the code, no secrets."""

import ast
import re
import subprocess
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

from pfxlab.emulator.config import Switches
from pfxlab.scenarios.reference import PAGES

ROOT = Path(__file__).parents[1]
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_every_test_states_its_behaviour(path: Path) -> None:
    """The docstring of every test is one sentence that ends with a full stop."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            text = ast.get_docstring(node) or ""
            assert re.fullmatch(r"[A-Z`$§'0-9].*\.", text.replace("\n", " ")), f"{path.name}:{node.name}: {text!r}"


def test_every_switch_is_a_row_of_divergences() -> None:
    """Each switch stands in docs/divergences.md with the default it has in the code, and no other does."""
    rows = re.findall(
        r"^\| `(\w+)` \| `([^`]*)` \| (\w+)", (ROOT / "docs" / "divergences.md").read_text(), re.MULTILINE
    )
    defaults = {field.name: str(field.default).removesuffix(".0") for field in fields(Switches)}
    assert {name: default for name, default, _ in rows} == defaults
    assert {confidence for _, _, confidence in rows} <= {"documented", "observed", "assumed"}


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_up_to_date(name: str) -> None:
    """Each generated page is up to date; `python -m pfxlab.scenarios.reference` writes them."""
    assert (ROOT / "docs" / name).read_text("utf-8") == PAGES[name]()


PYTHON = [ROOT / name for name in subprocess.check_output(
    ["git", "ls-files", "*.py"], cwd=ROOT, text=True
).split()]  # fmt: skip


def test_files_are_of_a_size_to_be_read() -> None:
    """No Python file has more than 500 lines, and no folder more than 15 Python files."""
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in PYTHON}
    assert {name: lines for name, lines in long.items() if lines > 500} == {}
    folders = Counter(str(path.parent.relative_to(ROOT)) for path in PYTHON)
    assert {name: count for name, count in folders.items() if count > 15} == {}


def test_dependencies_say_why() -> None:
    """Every dependency line of pyproject.toml ends with a reason."""
    text = (ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[0]
    lines = re.findall(r'^  "[A-Za-z][\w.-]*(?:[<>=!~].*)?",?.*$', text, re.MULTILINE)
    packages = [line for line in lines if re.search(r'"[\w.-]+(>=[\d.]+)?",', line) and "S101" not in line]
    assert len(packages) > 15
    assert [line for line in packages if "#" not in line] == []
