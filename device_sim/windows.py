"""A simulated Windows PC, with what it has and how it does what nobody has documented.

Sources: reference devices A1 to A6.
"""

from pathlib import Path

from device_sim.identity import Enrolled
from device_sim.omadm import OmaDmDevice
from device_sim.pfx_cert_install import Behaviour
from emulator.wire.clock import Clock


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
        super().__init__(enrolled, ca_pem, clock, folder)
        self.csp.behaviour = behaviour or Behaviour()
