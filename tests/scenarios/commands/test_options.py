"""The options of all commands: one name, one meaning."""

from collections import defaultdict
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from pfxlab.scenarios.cli import main


def commands(group: click.Group, name: str, above: click.Context | None = None) -> Iterator[tuple[str, click.Command]]:
    """Yield every command below a group, with its full name."""
    context = click.Context(group, parent=above, info_name=name)
    yield name, group
    for below in group.list_commands(context):
        command = group.get_command(context, below)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {below}", context)
        else:
            yield f"{name} {below}", command


def test_option_has_the_same_kind_of_value_in_every_command() -> None:
    """An option has the same kind of value in every command; `--out` is a file or a folder of files."""
    kinds = defaultdict[str, set[str]](set)
    for _, command in commands(main, "pfxlab"):
        for option in command.params:
            if isinstance(option, click.Option):
                kind = "flag" if option.is_flag else option.type.name.removesuffix(" range")
                kinds[option.opts[0]].add(kind)
    assert len(kinds) > 50
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {"--out": {"file", "directory"}}
    assert (kinds["--json"], kinds["--user"], kinds["--jobs"]) == ({"flag"}, {"text"}, {"integer"})


@pytest.mark.parametrize(
    ("words", "old"),
    [
        ("pfx import --upn u", "--upn"),
        ("demo --upn u", "--upn"),
        ("connector run --processes 2", "--processes"),
        ("devices checkin --at-once 2", "--at-once"),
        ("devices show --folder f", "--folder"),
        ("soak --minutes 5", "--minutes"),
    ],
)
def test_an_old_name_is_a_usage_error(words: str, old: str) -> None:
    """An option by its name of before ends with code 2 and is named in the error."""
    result = CliRunner().invoke(main, words.split())
    assert (result.exit_code, f"No such option '{old}'" in result.output) == (2, True), result.output
