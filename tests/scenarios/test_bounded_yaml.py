"""YAML beyond its bounds, as a value and from the commands that read such files."""

import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pfxlab.scenarios import bounded_yaml
from pfxlab.scenarios.cli import main

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30)
)
"""1.6 kB that stand for 10^30 values."""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "line 4: expected aliases for at most 10,000 values"),
        ("- &a [x]\n" + "- *a\n" * 5001, "line 5002: expected aliases for at most 10,000 values"),
        ("a: &a [*a]", "line 1: expected an alias to what stands before it, 'a' holds itself"),
        ("[" * 51, "line 1: expected values nested at most 50 deep"),
        ("- " * 100_000, "line 1: expected values nested at most 50 deep"),
        ("? " * 51, "line 1: expected values nested at most 50 deep"),
        ("9" * 101, "line 1: expected a number of at most 100 characters, got one of 101"),
        ("a: 1\nyes: 1\ntrue: 2", "line 3: expected each key once, got 'true' here and in line 2"),
        ("a: {b: 1}\nc: {b: 1, d: {e: 1, e: 1}}", "line 2: expected each key once, got 'e' here and in line 2"),
        ("b: &b {x: 1}\nc: {<<: *b, x: 2, x: 3}", "line 2: expected each key once, got 'x' here and in line 2"),
        ("x: !!int " + "1:" * 100_000 + "1", "got one of 200001"),
    ],
    ids=(
        "laughs",
        "many aliases",
        "itself",
        "brackets",
        "dashes",
        "keys",
        "digits",
        "twice",
        "twice within",
        "twice beside a merge",
        "sexagesimal",
    ),
)
def test_yaml_beyond_its_bounds_is_refused_while_it_is_read(text: str, said: str) -> None:
    """Aliases, nesting and numbers are counted while a text is read, and refused with the line."""
    with pytest.raises(bounded_yaml.BeyondBounds) as refused:
        bounded_yaml.load(text)
    assert said in bounded_yaml.problem_of(refused.value)


def test_common_yaml_is_within_the_bounds() -> None:
    """Aliases, merged mappings and fifty levels are read as PyYAML's own loader reads them."""
    text = "base: &base {a: 1, b: [x, y]}\nother: {<<: *base, c: 0x1f}\n"
    assert bounded_yaml.load(text) == yaml.safe_load(text)
    replaced = "base: &base {a: 1}\nother: {<<: *base, a: 2}\nlast: {a: 3, <<: *base}\n"
    assert bounded_yaml.load(replaced) == {"base": {"a": 1}, "other": {"a": 2}, "last": {"a": 3}}
    deep = "[" * 50 + "]" * 50
    assert bounded_yaml.load(deep) == yaml.safe_load(deep)
    aliases = "- &a [x]\n" + "- *a\n" * 5000
    assert bounded_yaml.load(aliases) == [["x"]] * 5001


@pytest.mark.parametrize(
    "command", [("scenario", "check"), ("world", "do"), ("up", "--config")], ids=("scenario", "world", "config")
)
def test_commands_refuse_such_files_at_once(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Commands that read a user's YAML end with a sentence about the line, and not with the machine's memory."""
    file = tmp_path / "laughs.yaml"
    file.write_text(LAUGHS)
    begin = time.thread_time()
    result = CliRunner().invoke(main, [*command, str(file)])
    assert "aliases for at most 10,000 values" in result.output
    assert result.exit_code in (1, 2)
    assert time.thread_time() - begin < 5
