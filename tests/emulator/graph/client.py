"""A raw HTTP client of the emulated Graph for tests: shows status, headers and body as they are."""

import io
import json
import ssl
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from pfxlab.scenarios.lab.lab import Lab

PFX = "/beta/deviceManagement/userPfxCertificates"
CONFIGURATIONS = "/beta/deviceManagement/deviceConfigurations"


@dataclass
class Reply:
    """A response: status, headers and body."""

    status: int
    headers: Any
    text: str

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.text)

    @property
    def code(self) -> str:
        """Return the error code."""
        return str(self.json["error"]["code"])

    @property
    def message(self) -> str:
        """Return the error message."""
        return str(self.json["error"]["message"])

    @property
    def envelope(self) -> dict[str, Any]:
        """Return Intune's envelope inside the error message."""
        inner: dict[str, Any] = json.loads(self.message)
        return inner


class Raw:
    """Sends requests with a token, or without."""

    def __init__(self, lab: Lab, token: str | None) -> None:
        self._tls = ssl.create_default_context(cafile=str(lab.ca_file))
        self.lab, self.origin, self._token = lab, lab.emulator.origin, token

    async def __call__(
        self, method: str, path: str, body: Any = None, *, data: bytes | io.BytesIO | None = None, headers: Any = None
    ) -> Reply:
        """Return the answer; `path` is sent exactly as it stands."""
        sent = dict(headers or {})
        if self._token is not None:
            sent.setdefault("Authorization", f"Bearer {self._token}")
        if body is not None:
            data = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        url = URL(f"{self.origin}{path}", encoded=True)
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, data=data, headers=sent, ssl=self._tls) as response,
        ):
            return Reply(response.status, response.headers, await response.text())


async def admin(lab: Lab) -> Raw:
    """Return a client with the import tool's token."""
    async with lab.graph() as client:
        return Raw(lab, await client.sign_in(lab.admin_form()))


def record(lab: Lab, **changes: Any) -> dict[str, Any]:
    """Return a body as the old import cmdlets send it: PascalCase enums, local offsets, no id."""
    body = {
        "thumbprint": "8c5b0f6f3b1d2a4e6c7f8091a2b3c4d5e6f70812",
        "intendedPurpose": "SmimeEncryption",
        "userPrincipalName": lab.operator.credentials.user_upn,
        "startDateTime": "2026-01-05T08:00:00.0000000+01:00",
        "expirationDateTime": "2029-01-04T08:00:00.0000000+01:00",
        "providerName": "Microsoft Software Key Storage Provider",
        "keyName": "PfxImportKey",
        "paddingScheme": "OaepSha512",
        "encryptedPfxBlob": "MIIMCANARYBLOB00",
        "encryptedPfxPassword": "cGFzc3dvcmQ=",
        "createdDateTime": "2026-02-01T10:00:00.1234567+01:00",
        "lastModifiedDateTime": "2026-02-01T10:00:00.1234567+01:00",
    }
    return {name: value for name, value in {**body, **changes}.items() if value is not ...}


async def setup(lab: Lab) -> Raw:
    """Return a client with the token of the application that may change the directory."""
    made = lab.operator.credentials
    form = {"client_id": made.setup_client_id, "client_secret": made.setup_client_secret}
    async with lab.graph() as client:
        return Raw(lab, await client.sign_in({"grant_type": "client_credentials", **form}))
