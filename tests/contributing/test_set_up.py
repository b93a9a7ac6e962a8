"""The statements of CONTRIBUTING.md about targets, hooks and pages are true."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = [
    name
    for name in subprocess.check_output(["git", "ls-files", "*.md"], cwd=ROOT, text=True).splitlines()
    if (ROOT / name).is_file()
]


def test_targets_are_those_of_the_makefile() -> None:
    """The table of targets shows each target of the Makefile that changes or checks code, and no other."""
    shown = re.findall(r"^\| `make (\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
    there = re.findall(r"^(\w+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(shown) == set(there) - {"help", "demo", "clean"}


def test_hook_runs_make_check_and_downloads_nothing() -> None:
    """The pre-commit file has one hook, which is local and runs `make check`."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    (hook,) = repository["hooks"]
    assert (repository["repo"], hook["language"], hook["entry"]) == ("local", "system", "make check")


@pytest.mark.parametrize("name", PAGES)
def test_links_between_files_lead_somewhere(name: str) -> None:
    """Each relative link of a page points to a file or folder of the repository."""
    text = re.sub(r"^ *```.*?^ *```$", "", (ROOT / name).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
    assert [one for one in targets if not (ROOT / name).parent.joinpath(one).exists()] == []
