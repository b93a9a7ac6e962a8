"""Microsoft's own JavaScript clients, unmodified, against `pfxlab up` in another process."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.test_official_sdk import start, stop

NODE = Path(__file__).parent / "node"
ready = shutil.which("node") is not None and (NODE / "node_modules" / ".ready").exists()


@pytest.mark.skipif(not ready and not os.environ.get("CI"), reason="needs node and the packages `make test` installs")
def test_javascript_clients_cannot_tell_the_difference(tmp_path: Path) -> None:
    """MSAL, Azure Identity, the Graph client and the TypeScript SDK sign in by every flow, import, page, batch and delete."""
    config = tmp_path / "lab.yaml"
    config.write_text("auto_approve_upn: user@pfxlab.example\nswitches: {page_size: 2}\n")
    process, facts = start(tmp_path, "--config", str(config))
    try:
        command = ["node", "client.mjs", str(tmp_path / "ready.json")]
        environment = {**os.environ, "NODE_EXTRA_CA_CERTS": facts["ca_file"]}
        done = subprocess.run(
            command, cwd=NODE, env=environment, capture_output=True, text=True, check=False, timeout=600
        )
    finally:
        stop(process)
    assert done.returncode == 0, done.stderr
    user = "user@pfxlab.example"
    assert json.loads(done.stdout) == {
        "msal_secret": "app",
        "msal_password": [user, user],
        "device_message": True,
        "msal_device": user,
        "msal_refresh": user,
        "msal_refused": ["invalid_client", "7000215"],
        "identity": "app",
        "created": ["smimeEncryption", "AA=="],
        "paged": 3,
        "filtered": 1,
        "patched": "KeyB",
        "members": [[user], 1],
        "batch": [["1", 204, None], ["2", 200, "2"]],
        "unknown": [404, "ResourceNotFound", "string"],
        "typed": ["smimeEncryption", "oaepSha512", "2026-01-01T00:00:00.000Z", 1],
        "walked": 4,
        "profile": ["#microsoft.graph.windows10ImportedPFXCertificateProfile", "useSoftwareKsp"],
        "typed_unknown": [404, "ResourceNotFound", 36],
    }
