"""How commands find the lab they work with: `--ready-file`, then PFXLAB_READY_FILE, then the one lab that runs."""

import json
import os
from pathlib import Path
from typing import Any, Final

import click

from pfxlab.scenarios.commands.common import COULD_NOT_RUN, NEW_FILE, USAGE, stop
from pfxlab.scenarios.lab.running_labs import VARIABLE, running_labs, runtime_folder

READY_FILE: Final = click.option(
    "--ready-file", type=NEW_FILE, envvar=VARIABLE, show_envvar=True,
    help="Ready file of the lab; without it that of the one lab that runs.",
)  # fmt: skip
"""The option of every command that works with a running lab."""

_FACTS: Final = ("graph_url", "authority_url", "ca_file", "connector_public_key_file", "provider_name", "key_name")
_ACCOUNTS: Final = {
    "application": ("client_id", "client_secret"), "administrator": ("upn", "password"),
    "public_application": ("client_id",),
    "setup_application": ("client_id", "client_secret"), "mail_user": ("upn", "password"),
}  # fmt: skip
_ALWAYS: Final = ("application", "administrator", "public_application")


def find_ready_file(ready_file: Path | None) -> Path | None:
    """Return the ready file to use, None when no lab runs; end the command when it is missing or several labs run."""
    if ready_file is not None:
        if not ready_file.exists():
            origin = f"{VARIABLE}={ready_file}" if os.environ.get(VARIABLE) == str(ready_file) else str(ready_file)
            stop(
                USAGE,
                f"expected the ready file of a running lab, got {origin}, which is not there:"
                " a lab deletes its ready file when it stops",
            )
        return ready_file
    try:
        found = running_labs()
    except OSError as error:
        stop(COULD_NOT_RUN, f"cannot look for running labs in {runtime_folder()}: {error}")
    if len(found) > 1:
        listed = "".join(f"\n  {one.url}  --ready-file {one.ready_file}" for one in found)
        stop(USAGE, f"expected one running lab, got {len(found)}; choose one by --ready-file or {VARIABLE}:{listed}")
    return found[0].ready_file if found else None


def require_ready_file(ready_file: Path | None) -> Path:
    """Return the ready file to use, or end the command with what was looked for."""
    found = find_ready_file(ready_file)
    if found is None:
        stop(
            COULD_NOT_RUN,
            f"expected a running lab, --ready-file or {VARIABLE}, got none: no ready file in {runtime_folder()}."
            " Next: start a lab with `pfxlab up` in another shell",
        )
    return found


def ready_facts(ready_file: Path | None, *more: str) -> dict[str, Any]:
    """Return what the ready file to use says, or end the command; `more` names further accounts it must have."""
    path = require_ready_file(ready_file)
    try:
        facts = json.loads(path.read_text("utf-8"))
        known = {name: str(facts[name]) for name in _FACTS}
        needed = {name: _ACCOUNTS[name] for name in (*_ALWAYS, *more)}
        accounts = {name: {key: str(facts[name][key]) for key in keys} for name, keys in needed.items()}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        stop(USAGE, f"{path}: expected the ready file of a running lab, got something else")
    return {**facts, **known, **accounts}
