"""Which node a command reaches on an OMA-DM device, in which scope."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.device_sim.certstore import CertStore
from pfxlab.device_sim.identity import MdmIdentity
from pfxlab.device_sim.omadm.management_tree import ManagementTree
from pfxlab.device_sim.omadm.pfx_cert_install import OK, PfxCertInstall
from pfxlab.device_sim.schedule import APPLE, next_check_in
from pfxlab.emulator.intune.mde2 import POLL
from pfxlab.emulator.wire.omadm import pfx_cert_install as csp
from pfxlab.emulator.wire.omadm.syncml import Atomic, Item, Verb
from tests.behaviour import behaviour
from tests.conftest import self_signed

WIPE = "./Vendor/MSFT/RemoteWipe/doWipe"
ENROLLED = datetime(2026, 6, 1, 8, 0, tzinfo=UTC)


@pytest.fixture
def tree(other_key: rsa.RSAPrivateKey) -> ManagementTree:
    """Return a PC's tree."""
    pfx = PfxCertInstall(MdmIdentity("d", self_signed(other_key), other_key), CertStore())
    return ManagementTree(pfx, {"./DevInfo/Man": "PFX Lab"}, {WIPE: lambda _: OK})


def verb(name: str, target: str | None, data: str | None = None) -> Verb:
    """Return one command."""
    return Verb(name, "2", () if target is None else (Item(target=target, data=data),))


@behaviour(
    "scope", "Windows", "a node of the other scope is 405; user nodes without a user are 0x86000022", source="csp-scope"
)
@pytest.mark.parametrize(
    ("name", "target", "user", "code", "error"),
    [
        ("Get", "./DevInfo/Man", True, "200", None),
        ("Get", "./Device/DevInfo/Man", True, "200", None),
        ("Replace", "./DevInfo/Man", True, "405", csp.COMMAND_NOT_ALLOWED),
        ("Get", "./User/DevInfo/Man", True, "405", csp.COMMAND_NOT_ALLOWED),
        ("Exec", WIPE, True, "200", None),
        ("Exec", "./Device/Vendor/MSFT/RemoteWipe/doWipe", True, "200", None),
        ("Exec", "./User/Vendor/MSFT/RemoteWipe/doWipe", True, "405", csp.COMMAND_NOT_ALLOWED),
        ("Get", WIPE, True, "405", csp.COMMAND_NOT_ALLOWED),
        ("Exec", csp.USER_ROOT, True, "405", csp.COMMAND_NOT_ALLOWED),
        ("Get", csp.USER_ROOT, False, "500", csp.NO_IMPERSONATION_TARGET),
        ("Get", csp.DEVICE_ROOT, False, "200", None),
        ("Get", csp.DEVICE_CONTEXT_ROOT, False, "200", None),
        ("Get", "./Vendor/MSFT/NodeCache/MS%20DM%20Server/CacheVersion", True, "404", csp.NODE_NOT_FOUND),
        ("Get", "/DevInfo/Man", True, "400", None),
        ("Get", None, True, "400", None),
    ],
)
def test_scope_and_node_decide(
    tree: ManagementTree, name: str, target: str | None, user: bool, code: str, error: str | None
) -> None:
    """A command gets the status its node, scope and verb call for, with the HRESULT below it."""
    outcome = tree.single(verb(name, target), user_active=user)
    assert (outcome.code, outcome.original_error) == (code, error)


async def test_atomic_for_a_user_needs_one(tree: ManagementTree) -> None:
    """An Atomic on user nodes without a signed-in user fails as a whole; an empty one fails as well."""
    whole, parts = await tree.atomic(
        Atomic("1", (verb("Add", f"{csp.USER_ROOT}/A/KeyLocation", "3"),)), user_active=False
    )
    assert (whole.code, [part.original_error for part in parts]) == ("507", [csp.NO_IMPERSONATION_TARGET])
    assert (await tree.atomic(Atomic("1", ()), user_active=True))[0].code == "500"


@behaviour(
    "check-ins", "Windows", "every 3 min for 15 min, every 15 min for 2 h, then every 8 h", source="check-in-times"
)
@behaviour("check-ins", "Android", "as on Windows", source="check-in-times")
@behaviour("check-ins", "iOS", "pushed every 15 min for 1 h, then every 8 h", source="check-in-times")
@behaviour("check-ins", "macOS", "as on iOS", source="check-in-times")
@pytest.mark.parametrize(
    ("poll", "minutes"),
    [
        (POLL, [3, 6, 9, 12, 15, 30, 45, 60, 75, 90, 105, 120, 135, 135 + 480, 135 + 960]),
        (APPLE, [15, 30, 45, 60, 60 + 480, 60 + 960]),
        (((15, 2),), [15, 30, 30 + 1440]),
        ((), [1440, 2880]),
    ],
)
def test_check_ins_follow_the_schedule(poll: tuple[tuple[int, int], ...], minutes: list[int]) -> None:
    """After enrolment a device checks in on the documented schedule, then every 24 hours if no set is unlimited."""
    found, moment = [], ENROLLED
    for _ in minutes:
        moment = next_check_in(poll, ENROLLED, moment)
        found.append((moment - ENROLLED) // timedelta(minutes=1))
    assert found == minutes
