"""What commands share: how they end, how they read files of the user's, and where the user's own keys lie."""

import json
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

import click

VERDICT_FAILED: Final = 1
USAGE: Final = 2
COULD_NOT_RUN: Final = 3
FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_FILE: Final = click.Path(dir_okay=False, path_type=Path)


def stop(code: int, message: str) -> NoReturn:
    """Say on standard error why a command ends, and end it with that code."""
    click.echo(_printable(message), err=True)
    sys.exit(code)


def _printable(text: str) -> str:
    # Loaded when there is something to say: help comes without a package of the emulator.
    from pfxlab.emulator.wire.text import printable

    return printable(text)


def can_be_written(*files: Path | None) -> None:
    """Refuse files in folders that are not there, before the work whose result they are to hold."""
    for file in files:
        if file is not None and not file.resolve().parent.is_dir():
            raise click.UsageError(f"expected a folder that exists for {file}, got {file.resolve().parent}.")


def print_result(result: dict[str, Any] | list[Any], text: str, *, as_json: bool) -> None:
    """Print a result: for people as a text, for programs as JSON and nothing else."""
    if as_json:
        print_json(result)
    else:
        click.echo(_printable(text))


def print_json(value: Any, *, indent: int | None = 2, ensure_ascii: bool = True) -> None:
    """Print JSON on standard output, in which no character moves a terminal's cursor or turns its writing."""
    from pfxlab.emulator.wire.text import printable_json

    click.echo(printable_json(json.dumps(value, indent=indent, ensure_ascii=ensure_ascii)))


def missing_for_load(error: ImportError) -> NoReturn:
    """End a command that needs the packages of the extra `load`, and say how to install them."""
    have = "pip install '.[load]' in the project's folder"
    stop(COULD_NOT_RUN, f"expected the packages for load runs, got none named {error.name}. Next: {have}")


def first_line(path: Path) -> str:
    """Return the first line of a file that holds a secret.

    Raises:
        ValueError: it is no text; what it is instead is not told.

    """
    try:
        return path.read_text("utf-8-sig").partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError:
        raise ValueError(f"expected text in UTF-8 in {path.name}, got other bytes") from None


def secret(path: Path) -> str:
    """Return the first line of a file, or end the command in a sentence."""
    try:
        return first_line(path)
    except ValueError as error:
        stop(USAGE, str(error))
    except OSError as error:
        stop(COULD_NOT_RUN, f"expected to read {path}, got: {error.strerror}")
