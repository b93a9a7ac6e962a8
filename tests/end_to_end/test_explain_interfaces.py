"""`explain` as users ask for it: the command and the control API."""

import json
import subprocess
from pathlib import Path

from pfxlab.scenarios.lab.lab import Lab
from tests.clients.test_official_sdk import PFXLAB, start, stop
from tests.emulator.graph.client import Raw
from tests.end_to_end.test_life import UPN


def test_command_explains(tmp_path: Path) -> None:
    """`pfxlab explain` shows the chain up to the broken link with a remedy, and ends with code 1 while it is broken."""
    process, facts = start(tmp_path)
    try:
        command = [
            *PFXLAB,
            "explain",
            "--ready-file",
            str(tmp_path / "ready.json"),
            "--user",
            facts["mail_user"]["upn"],
        ]
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (shown.returncode, "NothingImported" in shown.stdout, "Import a certificate" in shown.stdout) == (
            1, True, True,
        )  # fmt: skip
        told = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=False).stdout)
        assert [one["broken"]["code"] for one in told] == ["NothingImported"]
    finally:
        stop(process)


async def test_control_api_explains(lab: Lab) -> None:
    """The control API explains to clients with its token, and refuses a query without user or with unknown names."""
    raw = Raw(lab, lab.emulator.control_token)
    reply = await raw("GET", f"/lab/v1/explain?user={UPN}")
    assert [one["broken"]["code"] for one in reply.json["explanations"]] == ["NothingImported"]
    assert (await raw("GET", "/lab/v1/explain")).status == 400
    assert (await raw("GET", f"/lab/v1/explain?user={UPN}&more=1")).status == 400
    assert (await Raw(lab, None)("GET", f"/lab/v1/explain?user={UPN}")).status == 401
