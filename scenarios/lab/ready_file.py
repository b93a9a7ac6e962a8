"""How tools find a running lab: the ready file, and environment variables."""

import json
from pathlib import Path
from typing import Any

from pfxlab import private_file
from pfxlab.emulator.admin.page import PREFIX as ADMIN_PREFIX
from pfxlab.emulator.lab.control import PREFIX
from pfxlab.scenarios.lab.lab import KEY_NAME, Lab
from pfxlab.scenarios.lab.running_labs import VARIABLE


def ready(lab: Lab) -> dict[str, Any]:
    """Return the content of the ready file."""
    made = lab.operator.credentials
    return {
        "graph_url": lab.emulator.origin,
        "authority_url": lab.authority_url,
        "tenant_id": made.tenant_id,
        "ca_file": str(lab.ca_file.resolve()),
        "application": {"client_id": made.admin_client_id, "client_secret": made.admin_client_secret},
        "limited_application": {"client_id": made.limited_client_id, "client_secret": made.limited_client_secret},
        "setup_application": {"client_id": made.setup_client_id, "client_secret": made.setup_client_secret},
        "public_application": {"client_id": made.public_client_id},
        "mail_user": {"upn": made.user_upn, "password": made.user_password},
        "administrator": {"upn": made.operator_upn, "password": made.operator_password},
        "group_id": made.group_id,
        "connector_public_key_file": str(lab.public_key_file.resolve()),
        "provider_name": lab.ksp.name,
        "key_name": KEY_NAME,
        "proxy_url": lab.emulator.proxy_url,
        "admin_url": f"{lab.emulator.origin}{ADMIN_PREFIX}",
        "control_url": f"{lab.emulator.origin}{PREFIX}",
        "control_token": lab.emulator.control_token,
    }


def write_ready_file(path: Path, facts: dict[str, Any]) -> None:
    """Write the ready file, complete or not at all, readable by its owner only."""
    private_file.replace(path, json.dumps(facts, indent=2).encode())


def remove_ready_file(path: Path, control_token: str) -> None:
    """Remove the ready file if it is still ours: another lab may have written its own there since."""
    try:
        ours = json.loads(private_file.read_no_link(path))["control_token"] == control_token
    except (OSError, ValueError, KeyError, TypeError):
        return
    if ours:
        path.unlink(missing_ok=True)


def environment(facts: dict[str, Any], ready_file: Path | None) -> dict[str, str]:
    """Return the variables that point tools at the lab.

    The first four make TLS clients trust it (Python, Requests, Node, curl). The proxy leads Microsoft's host names to
    it and no other name anywhere. AZURE_* are read by the Azure SDKs, PFXLAB_READY_FILE by the commands of `pfxlab`.
    """
    ca_file = facts["ca_file"]
    own = {} if ready_file is None else {VARIABLE: str(ready_file.resolve())}
    return {
        **own,
        "SSL_CERT_FILE": ca_file,
        "REQUESTS_CA_BUNDLE": ca_file,
        "NODE_EXTRA_CA_CERTS": ca_file,
        "CURL_CA_BUNDLE": ca_file,
        "HTTPS_PROXY": facts["proxy_url"],
        "https_proxy": facts["proxy_url"],
        "NO_PROXY": "localhost,127.0.0.1,::1",
        "no_proxy": "localhost,127.0.0.1,::1",
        "AZURE_AUTHORITY_HOST": facts["graph_url"],
        "AZURE_TENANT_ID": facts["tenant_id"],
        "AZURE_CLIENT_ID": facts["application"]["client_id"],
        "AZURE_CLIENT_SECRET": facts["application"]["client_secret"],
        "PFXLAB_GRAPH_URL": facts["graph_url"],
        "PFXLAB_AUTHORITY_URL": facts["authority_url"],
        "PFXLAB_USER_UPN": facts["mail_user"]["upn"],
        "PFXLAB_USER_PASSWORD": facts["mail_user"]["password"],
        "PFXLAB_PUBLIC_KEY_FILE": facts["connector_public_key_file"],
        "PFXLAB_PROVIDER_NAME": facts["provider_name"],
        "PFXLAB_KEY_NAME": facts["key_name"],
        "PFXLAB_CONTROL_URL": facts["control_url"],
        "PFXLAB_CONTROL_TOKEN": facts["control_token"],
    }
