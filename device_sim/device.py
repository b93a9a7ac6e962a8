"""What every simulated device has on any platform: an identity that may be renewed, and management it may leave."""

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path

import aiohttp

from pfxlab.device_sim import identity as identities
from pfxlab.device_sim.identity import Enrolled, Hardware, MdmIdentity
from pfxlab.device_sim.keys import NewKey, generate
from pfxlab.device_sim.trouble import Trouble


class ManagedDevice:
    """An enrolled device. With a folder it survives the process. `managed`: it has not left management."""

    def __init__(self, enrolled: Enrolled, ca_pem: bytes, folder: Path | None) -> None:
        self.enrolled, self._ca_pem, self._folder = enrolled, ca_pem, folder
        self.new_key: NewKey = generate
        self.managed = True
        self._other_version: str | None = None
        self.trouble: Trouble | None = None
        """What keeps it from installing certificates at present."""

        self._tls: ssl.SSLContext | None = None
        self._busy = asyncio.Lock()

    @property
    def identity(self) -> MdmIdentity:
        """Return key and certificate of the management channel."""
        return self.enrolled.identity

    @property
    def hardware(self) -> Hardware:
        """Return what the device says about itself."""
        if self._other_version is None:
            return self.enrolled.hardware
        return replace(self.enrolled.hardware, os_version=self._other_version)

    def run(self, os_version: str | None) -> None:
        """Run another version of the system, in this process only; None for its own again."""
        self._other_version = os_version

    def _session(self) -> aiohttp.ClientSession:
        """Return an HTTP session that shows the identity; TLS is prepared once, when it is first needed."""
        self._tls = self._tls or self.identity.tls(self._ca_pem)
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls))

    def _renewed(self, identity: MdmIdentity) -> None:
        """Take the next identity; it is kept before it is used."""
        self.enrolled, self._tls = self.enrolled.with_identity(identity), None
        if self._folder is not None:
            identities.save(self._folder, self.enrolled)

    def _left(self) -> None:
        """Be managed no longer, after a restart neither."""
        self.managed = False
        if self._folder is not None:
            identities.forget(self._folder)
