"""Which Graph the `pfx` commands talk to, and how they sign in there."""

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pfxlab.connector_sim.cmdlets import GraphClient
from pfxlab.connector_sim.errors import ConnectorError
from pfxlab.emulator.clock import WallClock
from pfxlab.scenarios import ending
from pfxlab.scenarios.commands.common import (
    COULD_NOT_RUN,
    USAGE,
    stop,
)
from pfxlab.scenarios.commands.ready_file import find_ready_file, ready_facts
from pfxlab.scenarios.user_folder import data_folder


def token_file() -> Path:
    """Return the file in which `pfxlab pfx token set` keeps a token."""
    return data_folder() / "token.json"


@dataclass(frozen=True)
class Place:
    """A Graph to talk to: its address, the sign-in address, the CA to trust, and how to sign in."""

    graph_url: str
    authority_url: str
    ca_file: Path | None
    form: dict[str, str] | None = None
    token: str | None = None


def place_of(ready_file: Path | None) -> Place:
    """Return where to go: the lab of the ready file that is given or found, else where the token kept is from.

    The token comes last: it stays from an earlier day, and a lab that runs is meant.
    """
    lab = find_ready_file(ready_file)
    if lab is not None:
        facts = ready_facts(lab)
        form = {"grant_type": "client_credentials", **facts["application"]}
        return Place(facts["graph_url"], facts["authority_url"], Path(facts["ca_file"]), form)
    if token_file().exists():
        try:
            kept = json.loads(token_file().read_text())
            return Place(kept["graph_url"], "", Path(kept["ca_file"]) if kept["ca_file"] else None, token=kept["token"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            stop(USAGE, f"expected a token in {token_file()}, got something else. Next: pfxlab pfx token set")
    raise click.UsageError("expected a running lab, --ready-file, or a token stored by `pfxlab pfx token set`.")


@asynccontextmanager
async def client_of(place: Place) -> AsyncIterator[GraphClient]:
    """Open a client that is signed in."""
    async with GraphClient(place.graph_url, place.authority_url, place.ca_file, patience=WallClock()) as client:
        if place.token is not None:
            client.use_token(place.token)
        elif place.form is not None:
            await client.sign_in(place.form)
        yield client


def with_client(ready_file: Path | None, work: Callable[[GraphClient], Coroutine[None, None, Any]]) -> Any:
    """Do something with a client that is signed in; what Graph refuses ends the command in one sentence."""
    place = place_of(ready_file)

    async def signed_in() -> Any:
        async with client_of(place) as client:
            return await work(client)

    try:
        return ending.run(signed_in())
    except (ConnectorError, OSError) as error:
        stop(COULD_NOT_RUN, f"Graph refused: {error}")
