"""A fleet for a running lab: test users made over Graph, devices of every platform enrolled for them."""

import asyncio
import contextlib
import itertools
import json
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

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


_PREFIX: Final = "fleet"
_EXISTS: Final = "already exists"
_IS_MEMBER: Final = "already exist"


class _NameTaken(GraphRefused):
    """A user of that name is in the tenant, and not this fleet's."""


async def _is_there(client: GraphClient, upn: str) -> bool:
    try:
        await client.call("GET", f"/v1.0/users/{upn}")
    except GraphRefused as refused:
        if refused.status == 404:
            return False
        raise
    return True


class FleetUsers:
    """The users of a fleet with their passwords, in a file only its owner may read.

    Fleets of one lab have users of their own: those of a new one take the first prefix that is free.
    """

    def __init__(self, folder: Path, prefix: str | None = None, *, is_new: bool = False) -> None:
        """`prefix`: the start of the users' names; by default that of the users in the folder. `is_new`: no devices."""
        self._path, self._is_new = folder / "users.json", is_new and prefix is None
        self.passwords: dict[str, str] = {}
        if os.path.lexists(self._path):
            remedy = "put it back from a copy, or enrol another fleet with another --data"
            with reading(self._path, "the passwords of the fleet's users", remedy):
                saved = json.loads(self._path.read_text("utf-8"))
                self.passwords = {str(upn): str(password) for upn, password in saved.items()}
        self._last = next(reversed(self.passwords), "")
        self.prefix = prefix or self._last.partition("@")[0].rpartition("-")[0] or _PREFIX

    async def make(self, facts: dict[str, Any], count: int, progress: ProgressCallback) -> list[str]:
        """Return `count` user names; missing users are created through Graph and added to the mail users' group.

        `progress` gets (users added, users wanted).

        Raises:
            GraphRefused: the directory's error.

        """
        domain = facts["mail_user"]["upn"].partition("@")[2]
        async with GraphClient(facts["graph_url"], facts["authority_url"], Path(facts["ca_file"])) as client:
            form = {"grant_type": "client_credentials", **facts["setup_application"]}
            await client.sign_in(form)
            if self._is_new and not self.passwords:
                await self._choose_prefix(client, facts["group_id"], domain)
            # The creation of the last one may have been cut off: each password is saved before its user is created.
            # If it is not in the tenant, the lab may have been reset: then the others are not, either.
            doubtful = bool(self._last) and await self._make(client, facts["group_id"], self._last)
            names = [f"{self.prefix}-{number:05}@{domain}" for number in range(1, count + 1)]
            for done, upn in enumerate(names, 1):
                if upn not in self.passwords or (doubtful and upn != self._last):
                    await self._make(client, facts["group_id"], upn)
                progress(done, count)
        return names

    async def _choose_prefix(self, client: GraphClient, group_id: str, domain: str) -> None:
        """Create the first user under the first prefix that no other fleet of the lab has."""
        for number in itertools.count(1):
            self.prefix = _PREFIX if number == 1 else f"{_PREFIX}{number}"
            upn = f"{self.prefix}-00001@{domain}"
            if not await _is_there(client, upn):
                with contextlib.suppress(_NameTaken):
                    await self._make(client, group_id, upn)
                    return

    async def _make(self, client: GraphClient, group_id: str, upn: str) -> bool:
        """Create a user, or finish that; return whether it was not in the tenant."""
        again, created = upn in self.passwords, True
        if not again:
            self._save({**self.passwords, upn: secret_word(18)})
        body = {
            "accountEnabled": True,
            "displayName": upn.partition("@")[0],
            "mailNickname": upn.partition("@")[0],
            "userPrincipalName": upn,
            "passwordProfile": {"password": self.passwords[upn], "forceChangePasswordNextSignIn": False},
        }
        try:
            user = await client.call("POST", "/v1.0/users", body)
        except GraphRefused as refused:
            if not again:
                self._save({name: password for name, password in self.passwords.items() if name != upn})
            if _EXISTS not in str(refused):
                raise
            if not again:
                raise _NameTaken(
                    f"expected {self._path} to hold the password of {upn}, who is in the tenant, got none;"
                    " put the file back from a copy, or delete the user",
                    refused.status,
                ) from None
            user, created = await client.call("GET", f"/v1.0/users/{upn}"), False
        reference = {"@odata.id": f"https://graph.microsoft.com/v1.0/directoryObjects/{user['id']}"}
        try:
            await client.call("POST", f"/v1.0/groups/{group_id}/members/$ref", reference)
        except GraphRefused as refused:
            if not again or _IS_MEMBER not in str(refused):
                raise
        return created

    def _save(self, passwords: dict[str, str]) -> None:
        self.passwords = passwords
        private_file.replace(self._path, json.dumps(passwords).encode())

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


def free_numbers(members: Sequence[Member], count: int) -> list[int]:
    """Return the first numbers, from 0, that no device has in its name, those that a cut-off enrolment left out too."""
    ends = (member.name.rpartition("-")[2] for member in members)
    taken = {int(end) for end in ends if end.isascii() and end.isdigit()}
    return list(itertools.islice((number for number in itertools.count() if number not in taken), count))


def plan(
    platforms: Sequence[str], users: Sequence[str], numbers: Sequence[int], seed: int, prefix: str
) -> list[tuple[Member, Hardware]]:
    """Return devices with those numbers, with platforms and users in turn; `prefix` is that of the fleet's users."""
    made = []
    for number in numbers:
        platform, upn = platforms[number % len(platforms)], users[number % len(users)]
        name = f"{platform}-{number:05}"
        made.append((Member(name, platform, upn), hardware_of(platform, upn, seed, f"{prefix}/{name}")))
    return made
