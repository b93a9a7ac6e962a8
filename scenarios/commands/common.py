"""What commands share: how they end, and where the user's own keys lie."""

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
    click.echo(message, err=True)
    sys.exit(code)


def tell(result: dict[str, Any] | list[Any], text: str, *, as_json: bool) -> None:
    """Print a result: for people as a text, for programs as JSON and nothing else."""
    click.echo(json.dumps(result, indent=2) if as_json else text)


def data_folder() -> Path:
    """Return the folder below the user's own where keys and tokens are kept."""
    return Path(click.get_app_dir("pfxlab"))
