"""Whole requests of every protocol, recorded while a lab's own parties work."""

import contextlib
import io
import json
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from yarl import URL

from pfxlab.connector_sim.pfx import open_pfx
from pfxlab.emulator.lab.control import PREFIX
from pfxlab.emulator.lab.verbs import VERBS
from pfxlab.scenarios.lab import chain
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.mail.authority import MailAuthority

PLATFORMS = ("ios", "macos", "windows", "android")
FORM = "application/x-www-form-urlencoded"
EXAMPLES: dict[str, Any] = {
    "setClock": {"advance": "1m"}, "addFault": {"kind": "graph_error", "times": 1}, "setSwitches": {},
    "waitForJournal": {"timeout": 0}, "seed": {"users": ["a@pfxlab.example"]},
}  # fmt: skip
"""Operation of the control API → a body."""


@dataclass(frozen=True)
class Recorded:
    """One request as bytes; `tls` holds its sender's client certificate, if it has one."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    tls: ssl.SSLContext = field(repr=False)


def _body(more: dict[str, Any]) -> tuple[bytes, str | None]:
    if (value := more.get("json")) is not None:
        return json.dumps(value).encode(), "application/json"
    data = more.get("data")
    if isinstance(data, dict):
        return urlencode(data).encode(), FORM
    if isinstance(data, io.BytesIO):
        return data.getvalue(), None
    if isinstance(data, str):
        return data.encode(), None
    return (data, None) if isinstance(data, bytes) else (b"", None)


@contextlib.contextmanager
def recorded(kept: list[Recorded]) -> Iterator[None]:
    """Keep every request that aiohttp's client sends."""
    send = aiohttp.ClientSession._request

    async def keep(session: Any, method: str, address: Any, **more: Any) -> Any:
        url: URL = session._build_url(address)
        if more.get("params"):
            url = url.update_query(more["params"])
        body, kind = _body(more)
        headers = {**session.headers, **(more.get("headers") or {})}
        if kind is not None:
            headers.setdefault("Content-Type", kind)
        tls = more.get("ssl") or getattr(session.connector, "_ssl", None)
        if isinstance(tls, ssl.SSLContext):
            named = tuple((str(name), str(value)) for name, value in headers.items())
            kept.append(Recorded(method, url.raw_path_qs, named, body, tls))
        return await send(session, method, address, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aiohttp.ClientSession, "_request", keep)
        yield


async def requests_of(lab: Lab, *, devices: bool = True) -> list[Recorded]:
    """Let a lab's parties work once, and return what they sent: enrolment, sign-in, Graph, check-ins, connector.

    `devices`: also those of devices and connector, which take seconds.
    """
    kept: list[Recorded] = []
    with recorded(kept):
        made = MailAuthority(datetime.now(UTC)).history(lab.operator.credentials.user_upn)[0]
        upn = lab.operator.credentials.user_upn
        async with lab.graph() as client:
            token = await client.sign_in(lab.admin_form())
            pfx = open_pfx(made.pfx, made.password)
            await chain.import_pfx(client, pfx, made.password, upn, made.purpose, lab.encryption_key(), made.padding)
            if devices:
                await _devices_work(lab, client, made.purpose, upn)
    tls = ssl.create_default_context(cafile=str(lab.ca_file))
    made_up = [*_graph(lab, token, tls), *_control(lab, tls), *_sign_in(lab, tls)]
    return [*kept, *made_up, *await _admin(lab, tls)]


async def _devices_work(lab: Lab, client: Any, purpose: Any, upn: str) -> None:
    await lab.start_connector()
    for platform in PLATFORMS:
        await chain.assign_profile(client, platform, purpose, lab.operator.credentials.group_id)
    enrolled = [await lab.device(platform, upn) for platform in PLATFORMS]
    for _ in range(2):
        for device in enrolled:
            await device.check_in()
        await chain.wait_for_connector(lab, enrolled)


def _graph(lab: Lab, token: str, tls: ssl.SSLContext) -> Iterator[Recorded]:
    headers = (("Authorization", f"Bearer {token}"), ("Content-Type", "application/json"))
    pfx = "/deviceManagement/userPfxCertificates"
    asked = {"requests": [{"id": "1", "method": "GET", "url": f"{pfx}?$filter=keyName eq 'k'&$top=1"},
                          {"id": "2", "method": "POST", "url": "/groups", "dependsOn": ["1"],
                           "headers": {"Content-Type": "application/json"},
                           "body": {"displayName": "g", "mailEnabled": False, "mailNickname": "g",
                                    "securityEnabled": True}}]}  # fmt: skip
    yield Recorded("POST", "/beta/$batch", headers, json.dumps(asked).encode(), tls)
    for path in (f"{pfx}?$filter=keyName%20eq%20'k'&$top=2&$orderby=thumbprint", "/users?$select=id&$expand=memberOf",
                 "/groups?$search=%22displayName:a%22&$count=true", "/deviceManagement/managedDevices"):  # fmt: skip
        yield Recorded("GET", f"/beta{path}", headers, b"", tls)
    user = {"userPrincipalName": "n@pfxlab.example", "displayName": "n", "mailNickname": "n", "accountEnabled": True,
            "passwordProfile": {"password": "attack-Passw0rd!"}}  # fmt: skip
    yield Recorded("POST", "/v1.0/users", headers, json.dumps(user).encode(), tls)


def _control(lab: Lab, tls: ssl.SSLContext) -> Iterator[Recorded]:
    token = lab.emulator.control_token
    headers = (("Authorization", f"Bearer {token}"), ("Content-Type", "application/json"))
    for verb in VERBS:
        if (end := verb.endpoint) is not None:
            query = "?" + "&".join(f"{name}=1" for name in end.query) if end.query else ""
            body = EXAMPLES.get(end.operation, dict.fromkeys((end.body or {}).get("properties", ()), "1m"))
            written = b"" if end.body is None else json.dumps(body).encode()
            yield Recorded(
                end.method, PREFIX + end.path.replace("{", "").replace("}", "") + query, headers, written, tls
            )
        if verb.arguments is not None:
            values = dict.fromkeys(verb.named_arguments(), "user@pfxlab.example")
            yield Recorded("POST", f"{PREFIX}/do/{verb.name}", headers, json.dumps(values).encode(), tls)


def _sign_in(lab: Lab, tls: ssl.SSLContext) -> Iterator[Recorded]:
    made = lab.operator.credentials
    client = {"client_id": made.public_client_id, "scope": "https://graph.microsoft.com/.default"}
    part = 'Content-Disposition: form-data; name="'
    whole = "".join(f'--x\r\n{part}{name}"\r\n\r\n{value}\r\n' for name, value in client.items()) + "--x--\r\n"
    forms = {"token": {**client, "grant_type": "password", "username": "u", "password": "p"},
             "devicecode": client, "authorize": {**client, "username": "u", "response_type": "code"}}  # fmt: skip
    for name, values in forms.items():
        path = f"/{made.tenant_id}/oauth2/v2.0/{name}"
        yield Recorded("POST", path, (("Content-Type", FORM),), urlencode(values).encode(), tls)
        yield Recorded("POST", path, (("Content-Type", "multipart/form-data; boundary=x"),), whole.encode(), tls)
    yield Recorded("GET", f"/common/oauth2/v2.0/authorize?{urlencode(forms['authorize'])}", (), b"", tls)
    yield Recorded("POST", "/common/oauth2/deviceauth", (("Content-Type", FORM),), b"user_code=ABCD", tls)


async def _admin(lab: Lab, tls: ssl.SSLContext) -> list[Recorded]:
    made = lab.operator.credentials
    form = {"username": made.operator_upn, "password": made.operator_password, "to": "/admin"}
    session = aiohttp.ClientSession(lab.emulator.origin, connector=aiohttp.TCPConnector(ssl=tls))
    async with session, session.post("/admin/sign-in", data=form) as signed_in:
        cookies = session.cookie_jar.filter_cookies(signed_in.url)
        cookie = "; ".join(f"{name}={one.value}" for name, one in cookies.items())
        async with session.get("/admin/profiles/new") as page:
            (csrf,) = set(re.findall(r'name="csrf" value="([^"]+)"', await page.text()))
    headers = (("Content-Type", FORM), ("Cookie", cookie))
    profile = {"csrf": csrf, "displayName": "Mail", "platform": "windows", "intendedPurpose": "smimeEncryption"}
    forms = {"/sign-in": form, "/profiles/new": profile, "/world": {"csrf": csrf, "action": "advance", "by": "1m"},
             "/profiles/x/assign": {"csrf": csrf, "included": made.group_id}, "/devices/x/sync": {"csrf": csrf}}  # fmt: skip
    pages = ("", "/users", "/devices", "/profiles", "/connectors", "/certificates", "/journal?after=1", "/faults",
             "/why?user=a", "/reports/a/b", "/live?after=1", "/world")  # fmt: skip
    return [Recorded("POST", f"/admin{path}", headers, urlencode(values).encode(), tls)
            for path, values in forms.items()] + [Recorded("GET", f"/admin{path}", headers, b"", tls)
                                                  for path in pages]  # fmt: skip
