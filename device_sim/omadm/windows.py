"""A simulated Windows PC, with what it has and how it does what nobody has documented.

Sources: sources.md#pfx-csp-nodes, sources.md#csp-scope, sources.md#syncml-sessions.
"""

import hashlib
import shutil
from pathlib import Path

from pfxlab.device_sim.certstore import CertStore
from pfxlab.device_sim.identity import Enrolled
from pfxlab.device_sim.omadm.management_tree import ManagementTree
from pfxlab.device_sim.omadm.pfx_cert_install import Behaviour, PfxCertInstall
from pfxlab.device_sim.omadm.session import OmaDmDevice
from pfxlab.emulator.wire.clock import Clock


class WindowsDevice(OmaDmDevice):
    """One Windows PC with a signed-in user."""

    parameters = {"mode": "Maintenance", "Platform": "WoA"}  # noqa: RUF012 - a constant

    def __init__(
        self,
        enrolled: Enrolled,
        ca_pem: bytes,
        clock: Clock,
        folder: Path | None = None,
        *,
        behaviour: Behaviour | None = None,
    ) -> None:
        self._behaviour = behaviour or Behaviour()
        super().__init__(enrolled, ca_pem, clock, folder)
        self._users: dict[str, tuple[CertStore, PfxCertInstall, ManagementTree, Path | None]] = {}
        self._user = ""

    def _pfx_cert_install(self) -> PfxCertInstall:
        return PfxCertInstall(self.identity, self.store, self._saved_tree(), self._behaviour)

    def _forget(self) -> None:
        super()._forget()
        if self._folder is not None:
            shutil.rmtree(self._folder / "users", ignore_errors=True)
        for upn in [user for user in self._users if user != self._user]:
            self.switch_user(upn)
            super()._forget()

    def switch_user(self, upn: str = "", token: str | None = None) -> None:
        """Let another user of the tenant sign in, whose token the PC shows; without one the PC's own user is back.

        Each user has a store and nodes of their own.
        """
        self._users[self._user] = (self.store, self.csp, self._tree, self._tree_file)
        self._user, self.user_token = upn.lower(), token
        if self._user in self._users:
            self.store, self.csp, self._tree, self._tree_file = self._users[self._user]
            self.csp.identity = self.identity
            return
        name = hashlib.sha256(self._user.encode()).hexdigest()[:16]
        self._open(None if self._folder is None else self._folder / "users" / name)
