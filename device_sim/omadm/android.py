"""A simulated Android device: an agent opens the PFX itself and hands key and certificate to the system's key store.

The system never sees the PFX password. Modes: work profile and fully managed, where the agent installs silently, and
device administrator, where the user is asked. Sources: sources.md#android-key-store; the nodes are the lab's own
convention, sources.md#android-agent.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pfxlab.device_sim.certstore import CertStore, Identity
from pfxlab.device_sim.errors import SessionFailed
from pfxlab.device_sim.identity import Enrolled, MdmIdentity
from pfxlab.device_sim.omadm.pfx_cert_install import InstallFailed, PfxCertInstall, Tree
from pfxlab.device_sim.omadm.session import OmaDmDevice
from pfxlab.emulator.wire.clock import Clock
from pfxlab.emulator.wire.omadm import pfx_cert_install as csp

DEVICE_ADMINISTRATOR = "android"


@dataclass
class AndroidBehaviour:
    """What the owner of a device has done or does.

    `user_answers`: to the notification of a device administrator's installation. `certificate_access`: whether the
    agent may put keys into the key store at all. `work_profile_paused`: nothing in the profile runs.
    """

    screen_lock: bool = True
    user_answers: Literal["accept", "decline", "later"] = "accept"
    certificate_access: bool = True
    work_profile_paused: bool = False


class AgentCertInstall(PfxCertInstall):
    """The agent's side of the nodes: conditions of the system first, then the same opening of the PFX."""

    def __init__(
        self, identity: MdmIdentity, store: CertStore, tree: Tree, platform: str, owner: AndroidBehaviour
    ) -> None:
        super().__init__(identity, store, tree, roots=(csp.USER_ROOT,))
        self._platform, self._owner = platform, owner

    async def open_pfx(self, base: str, nodes: dict[str, str]) -> Identity:
        """Return what the agent hands to the key store under the alias `base`.

        Raises:
            InstallFailed: the system or the user does not let it, or the PFX does not open.

        """
        if not (self._owner.screen_lock and self._owner.certificate_access):
            raise InstallFailed(csp.AGENT_DENIED)
        if self._platform == DEVICE_ADMINISTRATOR and self._owner.user_answers != "accept":
            later = self._owner.user_answers == "later"
            raise InstallFailed(csp.AGENT_ASKS if later else csp.AGENT_DECLINED)
        try:
            return await super().open_pfx(base, nodes)
        except InstallFailed as failed:
            unusable = failed.status in (csp.CRYPT_E_BAD_ENCODE, csp.NTE_NOT_SUPPORTED)
            raise InstallFailed(csp.AGENT_NOT_FOUND if unusable else failed.status) from None

    async def answer(self) -> None:
        """Let the user answer notifications that are still open: what waited is tried again."""
        for base, nodes in list(self.tree.items()):
            if nodes.get("Status") == str(csp.AGENT_ASKS):
                self.settle(*await self.tried(base))


class AndroidDevice(OmaDmDevice):
    """One Android device with its agent; the mode is its hardware's platform."""

    user_agent = "OMADMClient"
    parameters = {"Platform": "AndroidForWork"}  # noqa: RUF012 - a constant

    def __init__(
        self,
        enrolled: Enrolled,
        ca_pem: bytes,
        clock: Clock,
        folder: Path | None = None,
        *,
        behaviour: AndroidBehaviour | None = None,
    ) -> None:
        self.owner = behaviour or AndroidBehaviour()
        super().__init__(enrolled, ca_pem, clock, folder)

    def _pfx_cert_install(self) -> PfxCertInstall:
        return AgentCertInstall(self.identity, self.store, self._saved_tree(), self.hardware.platform, self.owner)

    async def check_in(self, *, pushed: bool = False) -> int:
        """Hold one session, as OmaDmDevice.check_in; nothing runs in a paused work profile.

        Raises:
            SessionFailed: as there, and when the work profile is paused.

        """
        if self.owner.work_profile_paused:
            raise SessionFailed("the work profile is paused: its agent does not run")
        return await super().check_in(pushed=pushed)

    async def answer_notification(self, answer: Literal["accept", "decline"]) -> None:
        """Let the user answer what the agent asked."""
        self.owner.user_answers = answer
        if isinstance(self.csp, AgentCertInstall):
            async with self._busy:
                await self.csp.answer()
                self._save()
