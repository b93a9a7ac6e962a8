"""Graph as an administrator's import tool sees it: signed in, over the lab's address or a cloud's own host names."""

from datetime import datetime, timedelta
from typing import Any, Final

from pfxlab.connector_sim.cmdlets import GraphClient
from pfxlab.emulator.entra.token_checks import token_checks_of
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.tenant.names import named

AGENT: Final = "pfxlab-world"
"""User agent that distinguishes the lab's own requests from those of a tool under test."""

_NATIONAL: Final = {
    "usGovernment": ("graph.microsoft.us", "login.microsoftonline.us"),
    "china": ("microsoftgraph.chinacloudapi.cn", "login.partner.microsoftonline.cn"),
    "global": ("graph.microsoft.com", "login.microsoftonline.com"),
}


class Administrator:
    """The administrator's application. It signs in on first use, and again before its token expires."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._client: GraphClient | None = None
        self._signed_in: tuple[datetime, datetime] | None = None
        self._hosts: tuple[str, str] | None = None

    async def close(self) -> None:
        """Close the connection to Graph; the next call opens another."""
        if self._client is not None:
            await self._client.__aexit__()
            self._client = None

    async def national_cloud(self, name: str) -> None:
        """Use the hosts of a national cloud, through the lab's proxy; `lab` returns to the lab's address.

        Raises:
            Unknown: no such cloud.

        """
        await self.close()
        self._hosts = None if name == "lab" else named(_NATIONAL, name, "cloud")

    def _new_client(self) -> GraphClient:
        lab, tenant = self._lab, self._lab.operator.credentials.tenant_id
        if self._hosts is None:
            return GraphClient(lab.emulator.origin, lab.authority_url, lab.ca_file, user_agent=AGENT)
        graph, login = self._hosts
        proxy = lab.emulator.proxy_url
        return GraphClient(f"https://{graph}", f"https://{login}/{tenant}", lab.ca_file, proxy, user_agent=AGENT)

    async def client(self) -> GraphClient:
        """Return a signed-in client of the administrator's application; its token is renewed before it expires."""
        if self._client is None:
            self._client = await self._new_client().__aenter__()
            self._signed_in = None
        if self._signed_in is None or self._is_old(*self._signed_in):
            await self._client.sign_in(self._lab.admin_form())
            self._signed_in = self._now()
        return self._client

    def _now(self) -> tuple[datetime, datetime]:
        return self._lab.clock.now(), self._lab.cloud.wall.now()

    def _is_old(self, planned: datetime, measured: datetime) -> bool:
        """Return whether a sign-in is half a token's lifetime ago by either clock, or its token was let expire.

        By the lab's clock as well: the administrator goes home, and signs in again the next day.
        """
        cloud, (now, wall) = self._lab.cloud, self._now()
        lifetime = timedelta(seconds=cloud.config.switches.token_lifetime_seconds / 2)
        ended = measured.timestamp() < token_checks_of(cloud).expired_until + 1
        return ended or abs(now - planned) > lifetime or wall - measured > lifetime

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the JSON of Graph's answer to the administrator's application.

        Raises:
            GraphRefused: an error answer.

        """
        return await (await self.client()).call(method, path, body)

    def use_own_hosts(self) -> None:
        """Use the lab's own address again."""
        self._hosts = None
