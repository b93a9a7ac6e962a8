"""A small client of a running lab's control API, for commands and scripts. Plain HTTP, no other library."""

import http.client
import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_TIMEOUT: Final = 120


class NoLab(Exception):
    """No running lab could be asked; the text says what was tried."""


class ControlRefused(NoLab):
    """The control API refuses; the text is its own, `code` stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def facts_of(ready_file: Path) -> dict[str, str]:
    """Return what a lab's ready file says, with at least its address, token and CA.

    Raises:
        NoLab: it is no ready file.

    """
    try:
        facts: dict[str, str] = json.loads(ready_file.read_text("utf-8"))
        if all(isinstance(facts[name], str) for name in ("control_url", "control_token", "ca_file")):
            return facts
    except OSError as error:
        raise NoLab(f"{ready_file}: expected the ready file of a running lab, got: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise NoLab(f"{ready_file}: expected the ready file of a running lab, got something else")


class ControlClient:
    """Speaks to one lab; `facts` needs control_url, control_token and ca_file, as in the ready file."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = facts

    def send(self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None) -> bytes:
        """Return the bytes of an answer.

        Raises:
            ControlRefused: the lab refuses, with its reason.
            NoLab: it does not answer.

        """
        url = f"{self._facts['control_url']}{path}"
        if query:
            url = f"{url}?{urllib.parse.urlencode(query)}"
        headers = {"Authorization": f"Bearer {self._facts['control_token']}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        ca_file = self._facts["ca_file"]
        if ca_file and not os.path.lexists(ca_file):
            raise NoLab(f"expected the lab's CA in {ca_file}, got no such file; start the lab again")
        try:
            request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - the lab's own address
            context = ssl.create_default_context(cafile=ca_file)
            https = urllib.request.HTTPSHandler(context=context)
            with urllib.request.build_opener(urllib.request.ProxyHandler({}), https).open(
                request, timeout=_TIMEOUT
            ) as got:
                return bytes(got.read())
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error.read(), error) from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise NoLab(f"expected a running lab at {self._facts['control_url']}, got no answer ({error})") from None

    def call(self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None) -> Any:
        """Return the JSON of an answer.

        Raises:
            ControlRefused: the lab refuses, with its reason.
            NoLab: it does not answer, or not with JSON.

        """
        try:
            return json.loads(self.send(method, path, body, query))
        except (ValueError, RecursionError):
            raise NoLab(f"expected JSON from {self._facts['control_url']}{path}, got something else") from None


def _refusal(text: bytes, error: Exception) -> NoLab:
    try:
        refusal = json.loads(text)["error"]
        return ControlRefused(str(refusal["code"]), str(refusal["message"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return NoLab(f"expected an answer of the control API, got {error}")


def fetch(facts: Mapping[str, Any], after: int, filters: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return journal entries of a running lab; `filters` are those of the control API.

    Raises:
        NoLab: it does not answer, or refuses.

    """
    query = {"after": str(after), **filters}
    entries: list[dict[str, Any]] = ControlClient(facts).call("GET", "/journal", query=query)["entries"]
    return entries
