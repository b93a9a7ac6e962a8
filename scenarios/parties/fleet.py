"""A fleet for a running lab: test users made over Graph, devices of every platform enrolled for them."""

import asyncio
import json
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from pfxlab import private_file
from pfxlab.connector_sim.cmdlets import GraphClient
from pfxlab.connector_sim.errors import GraphRefused
from pfxlab.device_sim.client import DeviceClient
from pfxlab.device_sim.fleet import Fleet, Member, ProgressCallback
from pfxlab.device_sim.identity import Hardware
from pfxlab.device_sim.keys import KeyPool, NewKey, generate
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.lab.control import PREFIX
from pfxlab.emulator.secret_words import secret_word
from pfxlab.emulator.wire.files.damaged import reading
from pfxlab.scenarios.parties.hardware import hardware_of


async def lab_clock(graph_url: str, ca_file: Path) -> LabClock:
    """Return a clock that shows what a running lab's shows.

    Raises:
        GraphRefused: no lab answers there.

    """
    tls = ssl.create_default_context(cafile=str(ca_file))
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{graph_url}{PREFIX}/health", ssl=tls) as response,
        ):
            there = datetime.fromisoformat((await response.json())["time"])
    except (aiohttp.ClientError, OSError, ValueError, KeyError) as error:
        raise GraphRefused(f"expected a lab at {graph_url}, got no answer ({type(error).__name__})") from None
    clock = LabClock()
    ahead = there - datetime.now(UTC)
    if ahead.total_seconds() > 0:
        clock.advance(ahead)
    return clock


class FleetUsers:
    """The users of a fleet with their passwords, in a file only its owner may read."""

    def __init__(self, folder: Path, prefix: str = "fleet") -> None:
        """`prefix`: the start of the users' names."""
        self._path, self._prefix = folder / "users.json", prefix
        self.passwords: dict[str, str] = {}
        if os.path.lexists(self._path):
            remedy = "put it back from a copy, or enrol another fleet with another --data"
            with reading(self._path, "the passwords of the fleet's users", remedy):
                saved = json.loads(self._path.read_text("utf-8"))
                self.passwords = {str(upn): str(password) for upn, password in saved.items()}

    async def make(self, facts: dict[str, Any], count: int, progress: ProgressCallback) -> list[str]:
        """Return `count` user names; missing users are created through Graph and added to the mail users' group.

        `progress` gets (users added, users wanted).

        Raises:
            GraphRefused: the directory's error.

        """
        domain = facts["mail_user"]["upn"].partition("@")[2]
        names = [f"{self._prefix}-{number:05}@{domain}" for number in range(1, count + 1)]
        async with GraphClient(facts["graph_url"], facts["authority_url"], Path(facts["ca_file"])) as client:
            form = {"grant_type": "client_credentials", **facts["setup_application"]}
            await client.sign_in(form)
            for done, upn in enumerate(names, 1):
                if upn not in self.passwords:
                    await self._make(client, facts["group_id"], upn)
                progress(done, count)
        return names

    async def _make(self, client: GraphClient, group_id: str, upn: str) -> None:
        password = secret_word(18)
        body = {
            "accountEnabled": True,
            "displayName": upn.partition("@")[0],
            "mailNickname": upn.partition("@")[0],
            "userPrincipalName": upn,
            "passwordProfile": {"password": password, "forceChangePasswordNextSignIn": False},
        }
        try:
            user = await client.call("POST", "/v1.0/users", body)
        except GraphRefused as refused:
            if "already exists" not in str(refused):
                raise
            raise GraphRefused(
                f"expected {self._path} to hold the password of {upn}, who is in the tenant, got none;"
                " put the file back from a copy, or delete the user",
                refused.status,
            ) from None
        self.passwords[upn] = password
        private_file.replace(self._path, json.dumps(self.passwords).encode())
        reference = {"@odata.id": f"https://graph.microsoft.com/v1.0/directoryObjects/{user['id']}"}
        await client.call("POST", f"/v1.0/groups/{group_id}/members/$ref", reference)

    async def tokens(self, facts: dict[str, Any], names: Sequence[str]) -> dict[str, str]:
        """Return a token for each user.

        Raises:
            GraphRefused: Entra ID's error.

        """
        form = {"grant_type": "password", "client_id": facts["public_application"]["client_id"]}
        async with GraphClient(facts["graph_url"], facts["authority_url"], Path(facts["ca_file"])) as client:
            return {
                upn: await client.sign_in({**form, "username": upn, "password": self.passwords[upn]})
                for upn in dict.fromkeys(names)
            }


def key_source(folder: Path, size: int) -> NewKey:
    """Return a pool of keys stored in the fleet's folder, or, for 0, a generator of new ones."""
    return KeyPool(folder / "keys.pem", size) if size else generate


async def open_fleet(folder: Path, facts: dict[str, Any], new_key: NewKey = generate, at_once: int = 16) -> Fleet:
    """Return the fleet of a folder, which talks to the lab of a ready file.

    Raises:
        GraphRefused: no lab answers there.

    """
    ca_file = Path(facts["ca_file"])
    clock, ca_pem = await lab_clock(facts["graph_url"], ca_file), await asyncio.to_thread(ca_file.read_bytes)
    return Fleet(folder, DeviceClient(facts["graph_url"], ca_pem, clock, new_key), at_once)


def plan(
    platforms: Sequence[str], users: Sequence[str], count: int, begin: int, seed: int
) -> list[tuple[Member, Hardware]]:
    """Return devices numbered from `begin`, with platforms and users in turn."""
    made = []
    for number in range(begin, begin + count):
        platform, upn = platforms[number % len(platforms)], users[number % len(users)]
        name = f"{platform}-{number:05}"
        made.append((Member(name, platform, upn), hardware_of(platform, upn, seed, f"fleet/{name}")))
    return made
