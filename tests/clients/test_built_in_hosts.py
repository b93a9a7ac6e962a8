"""Unmodified tools with Microsoft's hosts built in, through `pfxlab exec` and its CONNECT proxy."""

import subprocess
import sys
from typing import Any

import pytest

from pfxlab.emulator.proxy import decide, host_of
from tests.clients.test_official_sdk import PFXLAB

TOOL = """
import os, sys, msal, requests
app = msal.ConfidentialClientApplication(
    os.environ["AZURE_CLIENT_ID"], os.environ["AZURE_CLIENT_SECRET"],
    authority=f"https://{sys.argv[1]}/{os.environ['AZURE_TENANT_ID']}")
answer = app.acquire_token_for_client([f"https://{sys.argv[2]}/.default"])
token = answer.get("access_token") or sys.exit(str(answer))
page = requests.get(f"https://{sys.argv[2]}/beta/deviceManagement/userPfxCertificates",
                    headers={"Authorization": f"Bearer {token}"}, timeout=20)
print(page.status_code, page.json()["@odata.context"])
"""


def in_lab(*command: str) -> subprocess.CompletedProcess[str]:
    """Return the result of a command run by `pfxlab exec`."""
    words = [*PFXLAB, "exec", "--", *command]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.parametrize(
    ("login", "graph"),
    [
        ("login.microsoftonline.com", "graph.microsoft.com"),
        ("login.microsoftonline.us", "graph.microsoft.us"),
        ("login.partner.microsoftonline.cn", "microsoftgraph.chinacloudapi.cn"),
        ("westeurope.login.microsoft.com", "graph.microsoft.com"),
    ],
)
def test_tool_with_built_in_hosts_reaches_the_lab(login: str, graph: str) -> None:
    """MSAL and Requests, knowing only Microsoft's hosts of each cloud, sign in and list certificates."""
    done = in_lab(sys.executable, "-c", TOOL, login, graph)
    expected = f"200 https://{graph}/beta/$metadata#deviceManagement/userPfxCertificates"
    assert done.stdout.strip() == expected, done.stderr


SDK = """
import asyncio, os
from azure.identity import ClientSecretCredential
from msgraph_beta import GraphServiceClient
del os.environ["AZURE_AUTHORITY_HOST"]
credential = ClientSecretCredential(*(os.environ[f"AZURE_{n}"] for n in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET")))
client = GraphServiceClient(credential)
print(len(asyncio.run(client.users.get()).value), "users")
"""


def test_sdk_at_its_defaults_reaches_the_lab() -> None:
    """Microsoft's Python SDK reaches the lab with its built-in address, doubled slash included."""
    done = in_lab(sys.executable, "-c", SDK)
    assert done.stdout.strip() == "2 users", done.stderr


def test_other_hosts_are_out_of_reach() -> None:
    """A host the lab does not stand in for is refused by the proxy with the reason."""
    code = "import requests; requests.get('https://www.example.org', timeout=20)"
    done = in_lab(sys.executable, "-c", code)
    assert done.returncode != 0
    assert "403 Forbidden" in done.stderr


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("CONNECT graph.microsoft.com:443 HTTP/1.1", None),
        ("CONNECT GRAPH.microsoft.com:443 HTTP/1.1", None),
        ("CONNECT login.microsoftonline.com:18443 HTTP/1.1", None),
        ("CONNECT westeurope.login.microsoft.com:443 HTTP/1.1", None),
        ("CONNECT westeurope.r.login.microsoftonline.com:443 HTTP/1.1", None),
        ("CONNECT usgovvirginia.login.microsoftonline.us:443 HTTP/1.1", None),
        ("CONNECT a.westeurope.login.microsoft.com:443 HTTP/1.1", "none of the hosts"),
        ("CONNECT .login.microsoft.com:443 HTTP/1.1", "none of the hosts"),
        ("CONNECT evil.graph.microsoft.com:443 HTTP/1.1", "none of the hosts"),
        ("CONNECT management.azure.com:443 HTTP/1.1", None),
        ("CONNECT graph.microsoft.com:0 HTTP/1.1", "expected a port from 1 to 65535"),
        ("CONNECT graph.microsoft.com:65536 HTTP/1.1", "expected a port from 1 to 65535"),
        ("CONNECT graph.microsoft.com:\u0664\u0664\u0663 HTTP/1.1", "expected a port from 1 to 65535"),
        ("CONNECT graph.microsoft.com:x HTTP/1.1", "expected a port from 1 to 65535"),
        ("CONNECT graph.microsoft.com.evil.example:443 HTTP/1.1", "none of the hosts"),
        ("CONNECT 127.0.0.1:22 HTTP/1.1", "none of the hosts"),
        ("GET http://graph.microsoft.com/ HTTP/1.1", "expected CONNECT"),
        ("", "expected CONNECT"),
    ],
)
def test_proxy_allows_only_microsoft_hosts(line: str, reason: Any) -> None:
    """Only CONNECT to Microsoft's hosts is let through, on any port; a refusal says what was expected."""
    decision = decide(line)
    assert decision is None if reason is None else reason in (decision or "")


@pytest.mark.parametrize(
    ("line", "host"),
    [
        ("GET http://u:hunter2@evil.example/?client_secret=S3cret HTTP/1.1", "evil.example"),
        ("CONNECT evil.example:443 HTTP/1.1", "evil.example:443"),
        ("GET", ""),
    ],
)
def test_refused_target_is_named_without_secrets(line: str, host: str) -> None:
    """The journal has only host and port of a refused request."""
    assert host_of(line) == host
