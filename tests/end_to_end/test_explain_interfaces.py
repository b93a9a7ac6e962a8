"""`explain` as users ask for it: the command and the control API; and what it says of users' states."""

import json
import subprocess
from pathlib import Path

import pytest

from pfxlab.emulator.config import switches_with
from pfxlab.emulator.entra.principals.users import SignInState, set_state
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.tenant.directory import TenantDirectory
from pfxlab.scenarios.mail.authority import MailCertificate
from tests.clients.test_official_sdk import PFXLAB, start, stop
from tests.emulator.entra.test_entra import post_token
from tests.emulator.graph.client import PFX, Raw, admin, record
from tests.end_to_end.test_explain import profile, why, worked
from tests.end_to_end.test_life import UPN, bring, history

__all__ = ["history"]


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


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("blocked", "UserBlocked"),
        ("password_expired", "PasswordExpired"),
        ("mfa", "SecondFactorRequired"),
        ("policy", "BlockedByPolicy"),
    ],
)
async def test_sign_in_that_was_refused_explains_an_import_that_never_came(
    lab: Lab, state: SignInState, code: str
) -> None:
    """When the last user who signed in was refused for their state, that is why nothing was imported."""
    made = lab.operator.credentials
    form = {
        "grant_type": "password", "client_id": made.public_client_id, "username": made.operator_upn,
        "password": made.operator_password, "scope": "https://graph.microsoft.com/.default",
    }  # fmt: skip
    row = lab.cloud.directory.user(made.tenant_id, made.operator_upn)
    assert row is not None
    assert why(lab) == "NothingImported"
    set_state(lab.cloud, row, state)
    assert (await post_token(lab, **form)).status == 400
    assert why(lab) == code
    row = lab.cloud.directory.user(made.tenant_id, made.operator_upn)
    assert row is not None
    set_state(lab.cloud, row, "allowed")
    assert (await post_token(lab, **form)).status == 200
    assert why(lab) == "NothingImported"


async def test_user_without_licence_gets_nothing(lab: Lab, history: list[MailCertificate]) -> None:
    """A record of a user without a licence is kept and not delivered, and explained; with a licence it arrives."""
    directory = TenantDirectory(lab)
    await lab.start_connector()
    device = await lab.device("ios", UPN)
    await profile(lab, "ios")
    directory.user(UPN, licence=False)
    await bring(lab, history[0])
    await worked(lab, device)
    assert why(lab) == "UserUnlicensed"
    assert lab.cloud.deliveries.of_device(device.identity.device_id) == []
    directory.user(UPN, licence=True)
    await worked(lab, device)
    assert why(lab) == "arrived"


async def test_import_for_a_user_without_licence_can_be_refused(lab: Lab) -> None:
    """With the switch unlicensed_user at reject400 an import for such a user is the 400 without a reason."""
    lab.cloud.config = lab.cloud.config.with_switches(
        switches_with(lab.cloud.config.switches, {"unlicensed_user": "reject400"})
    )
    TenantDirectory(lab).user(UPN, licence=False)
    reply = await (await admin(lab))("POST", PFX, record(lab, userPrincipalName=UPN))
    assert (reply.status, "licence" in reply.text) == (400, False)
    assert [entry.reason for entry in lab.cloud.journal.entries(rule="UserUnlicensed")] == [
        f"userPrincipalName: {UPN!r} has no licence for Intune"
    ]
    assert why(lab) == "ImportRefused"
