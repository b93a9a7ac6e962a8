"""A directory in memory, asked through dispatch without a socket: nested groups, a device, tokens with any permissions."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jwt

from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.config import Config, Switches
from pfxlab.emulator.entra.grants import GLOBAL_ADMINISTRATOR, TokenRequest, token
from pfxlab.emulator.entra.keys import signing_key_of
from pfxlab.emulator.graph.dispatch import dispatch
from pfxlab.emulator.graph.request import Incoming
from pfxlab.emulator.lab.seed import add_user, seed, stable_id
from pfxlab.emulator.store.devices import Device

ORIGIN = "https://localhost"
ALL = ("Directory.ReadWrite.All", "User.ReadWrite.All", "Group.ReadWrite.All", "Application.ReadWrite.All",
       "DeviceManagementConfiguration.ReadWrite.All", "DeviceManagementManagedDevices.ReadWrite.All",
       "DeviceManagementManagedDevices.PrivilegedOperations.All")  # fmt: skip
EVENTUAL = {"consistencylevel": "eventual"}


class Reply(NamedTuple):
    """Status and body of an answer; `text` where it is no JSON."""

    status: int
    body: Any
    text: str

    @property
    def error(self) -> tuple[int, str, str]:
        """Return status, code and message of a refusal."""
        return self.status, self.body["error"]["code"], self.body["error"]["message"]

    def ids(self) -> set[str]:
        """Return the ids of what is listed."""
        return {item["id"] for item in self.body["value"]}


class Directory:
    """A cloud with users ann and bob: bob is in `inner`, which with ann and a PC is in `outer`; ann holds a role."""

    def __init__(self, **switches: Any) -> None:
        self.cloud = cloud = Cloud(Config(switches=Switches(**switches)), LabClock())
        self.made = made = seed(cloud)
        self.tenant = made.tenant_id
        roles = (GLOBAL_ADMINISTRATOR,)
        self.ann = add_user(cloud, made.tenant_id, "ann@pfxlab.example", "password of a test", roles)
        self.bob = add_user(cloud, made.tenant_id, "bob@pfxlab.example", "password of a test")
        self.inner, self.outer = stable_id(cloud, "group/inner"), stable_id(cloud, "group/outer")
        self.device = "44444444-2222-4333-8444-555555555555"
        now = "2026-03-01T08:00:00.000000Z"
        cloud.devices.save(a_device(self))
        for group, name in ((self.inner, "Inner"), (self.outer, "Outer")):
            cloud.directory.add_group(group, made.tenant_id, name, now)
        for group, member in ((self.inner, self.bob), (self.outer, self.inner), (self.outer, self.ann),
                              (self.outer, self.device)):  # fmt: skip
            cloud.directory.add_member(group, member)
        form = {
            "grant_type": "client_credentials",
            "client_id": made.admin_client_id,
            "client_secret": made.admin_client_secret,
            "scope": "https://graph.microsoft.com/.default",
        }
        asked = TokenRequest(cloud.directory.tenants()[0], form, ORIGIN, made.tenant_id)
        self._token = token(cloud, asked)["access_token"]

    def token(self, permissions: Iterable[str], user: str | None = None) -> str:
        """Return an application's token with some permissions, or that of a signed-in user."""
        claims = jwt.decode(self._token, options={"verify_signature": False})
        claims.pop("roles", None)
        if user is None:
            claims["roles"] = list(permissions)
        else:
            claims |= {"scp": " ".join(permissions), "oid": user, "wids": []}
        return signing_key_of(self.cloud).sign(claims)

    def __call__(
        self,
        method: str,
        address: str,
        body: Any = None,
        *,
        permissions: Iterable[str] = ALL,
        user: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Return the answer to a request; `address` begins with the version, names in braces stand for ids."""
        address = address.format(**{name: value for name, value in vars(self).items() if isinstance(value, str)})
        version, _, rest = address.partition("/")
        path, _, query = rest.partition("?")
        sent = {"authorization": f"Bearer {self.token(permissions, user)}", **(headers or {})}
        data = b""
        if body is not None:
            sent["content-type"], data = "application/json", json.dumps(body).encode()
        answer = dispatch(self.cloud, Incoming(method, ORIGIN, version, path, query, sent, data))
        text = answer.body.decode()
        as_json = "json" in answer.headers.get("Content-Type", "")
        return Reply(answer.status, json.loads(text) if as_json and text else None, text)


def a_device(directory: Directory) -> Device:
    """Return bob's PC."""
    return Device(
        id=directory.device,
        tenant_id=directory.tenant,
        user_id=directory.bob,
        platform="windows",
        device_name="PC of bob",
        os_version="10.0.22631.1",
        model="Lab",
        manufacturer="PFX Lab",
        serial_number="1",
        udid="",
        certificate=b"",
        key_thumbprint="",
        enrolled=directory.cloud.clock.now(),
        last_sync=directory.cloud.clock.now(),
    )
