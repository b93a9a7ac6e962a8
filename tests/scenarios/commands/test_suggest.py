"""Suggestions of commands for unknown words."""

import pytest
from click.testing import CliRunner

from pfxlab.emulator.wire.numbers import counted
from pfxlab.scenarios.cli import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("scenaro list", "no such command 'scenaro'; did you mean scenario?"),
        ("scenario rn", "no such command 'rn'; did you mean run?"),
        ("world devce", "no such command 'devce'; did you mean device or advance?"),
        ("demo --seeed 3", "No such option '--seeed'. (Did you mean one of: '--seed'"),
        ("conformance run --plan imprt -- true", "got 'imprt'; did you mean import?"),
        ("conformance run --plan import --module plan -- true", "got plan; did you mean plain?"),
        ("scenario run connector-dwn-and-back", "got 'connector-dwn-and-back'; did you mean connector-down-and-back?"),
        ("load monday-mornin", "got monday-mornin; did you mean monday-morning?"),
        ("up --with conector", "got conector; did you mean connector?"),
        ("nonsense", "no such command 'nonsense'; pfxlab --help lists them"),
    ],
)  # fmt: skip
def test_near_names_are_offered(words: str, said: str) -> None:
    """An unknown command, option, value, scenario or plan ends with code 2 and a suggestion."""
    done = CliRunner().invoke(main, words.split(), prog_name="pfxlab")
    assert (done.exit_code, said in " ".join(done.output.split())) == (2, True), done.output


def test_one_of_a_thing_is_not_several() -> None:
    """Counts are followed by the right form, large ones with separators."""
    assert [counted(number, "record") for number in (0, 1, 2, 1200)] == [
        "0 records",
        "1 record",
        "2 records",
        "1,200 records",
    ]
    assert [counted(number, "entry", "entries") for number in (1, 2)] == ["1 entry", "2 entries"]
