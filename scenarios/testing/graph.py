"""Microsoft Graph as a test asks it: in process, through the same code as over HTTPS."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pfxlab.emulator.entra import grants
from pfxlab.emulator.entra.token_checks import token_checks_of
from pfxlab.emulator.graph.dispatch import dispatch
from pfxlab.emulator.graph.request import Incoming
from pfxlab.scenarios.lab.world import World
from pfxlab.scenarios.testing.values import Answer, Call


class Graph:
    """Microsoft Graph of the lab, in process and without a socket, signed in as an application or a user."""

    def __init__(self, world: World, call: Call, facts: Mapping[str, Any], form: Mapping[str, str]) -> None:
        self._world, self._call, self._facts, self._form = world, call, facts, dict(form)
        self._token = ""
        self._signed_in: datetime | None = None

    def as_user(self, upn: str) -> "Graph":
        """Return the same as a user of the lab sees it."""
        form = {"grant_type": "password", "username": upn, "password": self._world.lab.password_of(upn)}
        form["client_id"] = self._facts["public_application"]["client_id"]
        return Graph(self._world, self._call, self._facts, form)

    def token(self) -> str:
        """Return an access token, got from the lab's Entra ID; a new one when the last has grown old."""
        cloud = self._world.lab.cloud
        now, lifetime = cloud.wall.now(), cloud.config.switches.token_lifetime_seconds
        old = timedelta(seconds=lifetime / 2)
        ended = token_checks_of(cloud).expired_until
        if self._signed_in is None or now - self._signed_in > old or self._signed_in.timestamp() < ended + 1:
            tenant = cloud.directory.tenant(self._facts["tenant_id"])
            if tenant is None:
                raise LookupError("expected the lab's own tenant, got none")
            form = {"scope": "https://graph.microsoft.com/.default", **self._form}
            body = grants.token(cloud, grants.TokenRequest(tenant, form, self._world.lab.emulator.origin, tenant["id"]))
            self._token, self._signed_in = str(body["access_token"]), now
        return self._token

    def request(
        self, method: str, path: str, json_body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Return the answer to a request; `path` begins with the version: `/beta/users?$top=1`."""
        return self._call(lambda: self._dispatch(method, path, json_body, dict(headers or {})))

    def _dispatch(self, method: str, path: str, json_body: Any, headers: dict[str, str]) -> Answer:
        version, _, rest = path.lstrip("/").partition("/")
        place, _, query = rest.partition("?")
        sent = {"authorization": f"Bearer {self.token()}", "user-agent": "pfxlab tests"}
        sent |= {name.lower(): value for name, value in headers.items()}
        body = b""
        if json_body is not None:
            sent.setdefault("content-type", "application/json")
            body = json.dumps(json_body).encode()
        incoming = Incoming(method.upper(), self._world.lab.emulator.origin, version.lower(), place, query, sent, body)
        answer = dispatch(self._world.lab.cloud, incoming)
        got = {name.lower(): value for name, value in answer.headers.items()}
        if not answer.body:
            return Answer(answer.status, got, None)
        is_json = "json" in got.get("content-type", "")
        return Answer(answer.status, got, json.loads(answer.body) if is_json else answer.body.decode())

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to a GET."""
        return self.request("GET", path, None, headers)

    def post(self, path: str, json_body: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to a POST."""
        return self.request("POST", path, json_body, headers)

    def patch(self, path: str, json_body: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to a PATCH."""
        return self.request("PATCH", path, json_body, headers)

    def delete(self, path: str) -> Answer:
        """Return the answer to a DELETE."""
        return self.request("DELETE", path)
