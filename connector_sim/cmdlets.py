"""The import side: what New-IntuneUserPfxCertificate and Import-IntuneUserPfxCertificate do, over any Graph."""

import asyncio
import base64
import json
import ssl
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from cryptography.hazmat.primitives.asymmetric import rsa
from yarl import URL

from pfxlab.connector_sim.errors import GraphRefused
from pfxlab.connector_sim.keys import padding
from pfxlab.connector_sim.pfx import Pfx
from pfxlab.connector_sim.retry import pause_of
from pfxlab.emulator.wire.clock import Clock
from pfxlab.emulator.wire.edm import format_date_time
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme

_ATTEMPTS: Final = 5
_WAIT: Final = (429, 503, 504)
COLLECTION = "/beta/deviceManagement/userPfxCertificates"


def _filter(property_: str, value: str) -> str:
    """Return an encoded comparison, with quotes doubled."""
    return quote(f"{property_} eq '{value.replace(chr(39), chr(39) * 2)}'", safe="")


@dataclass(frozen=True)
class EncryptionKey:
    """The connector's public key with the names under which the connector finds the private one."""

    key: rsa.RSAPublicKey
    provider_name: str
    key_name: str


def new_user_pfx_certificate(
    pfx: Pfx,
    password: str,
    upn: str,
    purpose: IntendedPurpose,
    to: EncryptionKey,
    scheme: PaddingScheme = PaddingScheme.oaepSha512,
) -> dict[str, Any]:
    """Return the record to import. The password must be ASCII, since the connector reads it so.

    Raises:
        ValueError: the password is not ASCII, or too long for key and padding.
        PaddingUnsupported: a padding scheme that connectors do not process.

    """
    if not password.isascii():
        raise ValueError("expected an ASCII password, the connector cannot read other characters")
    encrypted = padding.encrypt(to.key, password.encode("ascii"), scheme)
    return {
        "thumbprint": pfx.thumbprint,
        "intendedPurpose": purpose.name,
        "userPrincipalName": upn,
        "startDateTime": format_date_time(pfx.start),
        "expirationDateTime": format_date_time(pfx.end),
        "providerName": to.provider_name,
        "keyName": to.key_name,
        "paddingScheme": scheme.name,
        "encryptedPfxBlob": base64.b64encode(pfx.data).decode("ascii"),
        "encryptedPfxPassword": base64.b64encode(encrypted).decode("ascii"),
    }


class GraphClient:
    """A small Graph client for the administrator's side: token, then JSON requests."""

    def __init__(
        self,
        graph_url: str,
        authority_url: str,
        ca_file: Path | None,
        proxy: str | None = None,
        patience: Clock | None = None,
        user_agent: str | None = None,
    ) -> None:
        """`proxy`: address of an outbound proxy, `http://host:port`.

        `patience`: the clock by which a request other than POST waits when Graph asks for it, and is repeated; without
        one the caller decides.
        """
        self._patience, self._user_agent = patience, user_agent
        self._form: dict[str, str] | None = None
        self._graph_url, self._authority_url, self._proxy = graph_url, authority_url, proxy
        self._tls = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        self._session: aiohttp.ClientSession | None = None
        self._token: str | None = None
        self._renewing = asyncio.Lock()

    async def __aenter__(self) -> "GraphClient":
        """Open the connection pool."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls), proxy=self._proxy)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection pool."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise GraphRefused("expected the client to be entered with 'async with', got it unopened")
        return self._session

    async def sign_in(self, form: Mapping[str, str]) -> str:
        """Return an access token for a token request's fields, and use it from now on.

        Raises:
            GraphRefused: Entra ID's error.

        """
        fields = {"scope": f"{self._graph_url}/.default", **form}
        url = f"{self._authority_url}/oauth2/v2.0/token"
        try:
            async with self._open().post(url, data=fields) as response:
                body = json.loads(await response.text())
        except (aiohttp.ClientError, OSError, TimeoutError) as failure:
            raise GraphRefused(f"expected an answer to the sign-in, got none ({type(failure).__name__})") from None
        except ValueError:
            raise GraphRefused(f"expected JSON as answer to the sign-in, got other text ({response.status})") from None
        if response.status != 200:
            raise GraphRefused(str(body.get("error_description", response.status)), response.status)
        self._token, self._form = str(body["access_token"]), dict(form)
        return self._token

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the JSON of an answer, None when it has no body.

        Raises:
            GraphRefused: an error answer, with its code, message and request-id.

        """
        for attempt in range(1, _ATTEMPTS + 1):
            token = self._token
            try:
                return await self._call_once(method, path, body)
            except GraphRefused as error:
                if error.status == 401 and self._form is not None and attempt == 1:
                    # A token can end before its time. The request was refused, so that it may be sent again, once.
                    await self._renew(token)
                elif error.status in _WAIT and self._patience is not None and method != "POST" and attempt < _ATTEMPTS:
                    await self._patience.sleep(pause_of(error.headers, attempt, self._patience.now()))
                else:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def _renew(self, refused: str | None) -> None:
        """Get a new token, unless somebody else has done so since one was refused."""
        async with self._renewing:
            if self._token == refused and self._form is not None:
                await self.sign_in(self._form)

    async def _call_once(self, method: str, path: str, body: Any) -> Any:
        # An id for support, as Graph's guidance has it; it is the client's own and derives from no seed.
        headers = {"Authorization": f"Bearer {self._token}", "client-request-id": str(uuid.uuid4())}
        if self._user_agent is not None:
            headers["User-Agent"] = self._user_agent
        url = URL(path if path.startswith("https:") else f"{self._graph_url}{path}", encoded=True)
        try:
            async with self._open().request(method, url, json=body, headers=headers) as response:
                text = await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as failure:
            raise GraphRefused(f"expected an answer to {method}, got none ({type(failure).__name__})") from None
        try:
            answer = json.loads(text) if text else None
        except ValueError:
            answer = None
            if response.status < 400:
                raise GraphRefused(f"expected JSON as answer to {method}, got other text", 502) from None
        if response.status >= 400:
            error = answer.get("error", {}) if isinstance(answer, dict) else {}
            ids = response.headers.get("request-id")
            text = f"{response.status} {error.get('code')}: {error.get('message')} (request-id {ids})"
            raise GraphRefused(text, response.status, response.headers)
        return answer

    def use_token(self, token: str) -> None:
        """Use a token that was got elsewhere."""
        self._token = token

    async def all_pages(self, path: str) -> list[dict[str, Any]]:
        """Return the items of a collection, page by page; a link to another host is not followed.

        Raises:
            GraphRefused: see `call`, or a link that leads elsewhere.

        """
        items: list[dict[str, Any]] = []
        following: str | None = path
        read: set[str] = set()
        while following is not None:
            if following in read:
                raise GraphRefused(f"expected a nextLink to a page not read yet, got {following[:100]} again", 502)
            read.add(following)
            page = await self.call("GET", following)
            items += page["value"]
            following = page.get("@odata.nextLink")
            if following is not None and not following.startswith(f"{self._graph_url}/"):
                raise GraphRefused(f"expected a nextLink below {self._graph_url}, got {following[:100]}", 502)
        return items

    async def user_id(self, upn: str) -> str:
        """Return the directory id of a user (Get-IntuneUserId).

        Raises:
            GraphRefused: no such user, or see `call`.

        """
        found = await self.call("GET", f"/beta/users?$filter={_filter('userPrincipalName', upn)}")
        if not found["value"]:
            raise GraphRefused(f"No user was found for {upn!r}.", 404)
        return str(found["value"][0]["id"])

    async def get_user_pfx_certificates(
        self, upn: str | None = None, thumbprint: str | None = None
    ) -> list[dict[str, Any]]:
        """Return all records, a user's, or the one of a user and thumbprint (Get-IntuneUserPfxCertificate)."""
        parts = [] if upn is None else [_filter("tolower(userPrincipalName)", upn.lower())]
        parts += [] if thumbprint is None else [_filter("tolower(thumbprint)", thumbprint.lower())]
        query = f"?$filter={quote(' and ').join(parts)}" if parts else ""
        return await self.all_pages(f"{COLLECTION}{query}")

    async def update_user_pfx_certificate(self, record: Mapping[str, Any]) -> None:
        """Change an existing record (Import-IntuneUserPfxCertificate -IsUpdate)."""
        user = (await self.user_id(record["userPrincipalName"])).replace("-", "")
        await self.call("PATCH", f"{COLLECTION}({user}-{quote(record['thumbprint'].lower())})", dict(record))

    async def has_user_pfx_certificate(self, record_id: str) -> bool:
        """Return whether there is a record of that id."""
        try:
            await self.call("GET", f"{COLLECTION}/{quote(record_id)}")
        except GraphRefused as error:
            if error.status == 404:
                return False
            raise
        return True

    async def remove_user_pfx_certificate(self, record_id: str) -> None:
        """Delete a record by its id (Remove-IntuneUserPfxCertificate)."""
        await self.call("DELETE", f"{COLLECTION}/{quote(record_id)}")

    async def import_user_pfx_certificate(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Create a record and return the entity Graph answers with.

        Raises:
            GraphRefused: see `call`.

        """
        created: dict[str, Any] = await self.call("POST", COLLECTION, dict(record))
        return created
