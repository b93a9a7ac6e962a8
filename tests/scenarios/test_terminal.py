"""Output on a terminal and in a pipe."""

import io
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from pfxlab.scenarios import terminal
from pfxlab.scenarios.cli import main
from pfxlab.scenarios.terminal import Box, Fact, Rows, print_box, print_rows
from pfxlab.scenarios.testing import LabSession

LONG = "a fact of more words than a line of a narrow terminal has room for, told to the end " * 3


class Terminal(io.StringIO):
    """Output as written to a terminal."""

    def isatty(self) -> bool:
        """Return true."""
        return True


def _shown(file: io.StringIO, box: Box, rows: Rows, width: int) -> str:
    console = Console(file=file, width=width, highlight=False, color_system=None)
    print_box(console, box)
    print_rows(console, rows)
    return file.getvalue()


@pytest.mark.parametrize("file", [io.StringIO, Terminal])
def test_control_characters_are_shown_escaped(file: type[io.StringIO]) -> None:
    """What came from a client cannot move the cursor, hide a line or turn the direction of writing."""
    odd = "a\x1b[2Jb\rc\x07\x9b\u202ed"
    box, rows = Box(odd, [Fact("reason", odd)], heading=odd), Rows(("state",), [(odd,)])
    text = _shown(file(), box, rows, 200)
    assert text.count("a\\x1b[2Jb\\rc\\x07\\x9b\\u202ed") == 4
    assert set("\x1b\r\x07\x9b\u202e").isdisjoint(text)


def test_json_moves_no_cursor(tmp_path: Path) -> None:
    """JSON for programs has control characters escaped, and gives the texts it was made of."""
    file = tmp_path / "ä\x9b2J\x7f\u202eb.yaml"
    file.write_text("title: odd\nsteps:\n  - user: anna@pfxlab.example\n")
    text = CliRunner().invoke(main, ["scenario", "run", str(file), "--json"]).stdout
    assert "ä\\u009b2J\\u007f\\u202eb" in text
    assert set("\x7f\x9b\u202e").isdisjoint(text)
    assert json.loads(text)["scenarios"][0]["name"] == "ä\x9b2J\x7f\u202eb"


def test_a_pipe_gets_one_fact_a_line() -> None:
    """Without a terminal each fact is one line with its subject, however long, and no boxes are drawn."""
    box = Box("12:00", [Fact("told", "400"), Fact("reason", LONG.strip())], heading="POST /users")
    rows = Rows(("device", "state"), [("phone", "installed"), ("pc", "")], ("state",))
    assert _shown(io.StringIO(), box, rows, 40).splitlines() == [
        "12:00  POST /users: told 400",
        f"12:00  POST /users: reason {LONG.strip()}",
        "device phone, state installed",
        "device pc",
    ]


def test_a_heading_that_is_a_sentence_loses_its_full_stop_in_a_pipe() -> None:
    """At the head of a line a sentence ends with the colon alone."""
    box = Box("FAIL", [Fact("seen", "exit code 0")], heading="The plain case does not work.")
    assert _shown(io.StringIO(), box, Rows((), ()), 40) == "FAIL  The plain case does not work: seen exit code 0\n"


def test_a_terminal_gets_boxes_of_its_width() -> None:
    """On a terminal facts stand in a box, wrapped at its width."""
    shown = _shown(Terminal(), Box("12:00", [Fact("told", LONG)], heading="POST"), Rows(("device",), [("phone",)]), 60)
    assert shown.startswith("╭─ 12:00 ─")
    assert max(map(len, re.sub(r"\x1b\[\d*m", "", shown).splitlines())) == 60
    assert "device" in shown


@pytest.mark.parametrize(("variable", "coloured"), [("FORCE_COLOR", True), ("NO_COLOR", False)])
def test_colours_are_the_users_choice(variable: str, coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """FORCE_COLOR colours the plain lines in a pipe, NO_COLOR disables colour."""
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    file = io.StringIO()
    out = terminal.console()
    out.file = file
    print_box(out, Box("t", [Fact("told", LONG.strip(), "red")]))
    assert ("\x1b[" in file.getvalue()) is coloured
    assert len(file.getvalue().splitlines()) == 1


def test_explanations_can_be_searched_line_by_line() -> None:
    """`pfxlab explain` into a pipe has one line for each link of the path, with user and device in it."""
    with LabSession(seed=3) as lab:
        lab.profile("ios")
        lab.add_device("phone")
        lab.import_certificate(lab.certificate(chain=True))
        lab.settle()
        ready = lab.environment["PFXLAB_READY_FILE"]
        done = CliRunner().invoke(main, ["explain", "--user", lab.user, "--ready-file", ready])
    lines = done.output.splitlines()
    assert done.exit_code == 1
    (broken,) = [line for line in lines if "TooManyCertificates" in line]
    assert lab.user in broken
    assert "phone" in broken
    assert all(line.count(lab.user) >= 1 for line in lines)
    assert not any(sign in done.output for sign in "╭│╰")
