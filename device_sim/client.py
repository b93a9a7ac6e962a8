"""Opens and enrols devices of every platform: the one way in for the lab, the fleet and the tests."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from pfxlab.device_sim import identity
from pfxlab.device_sim.apple import enrollment
from pfxlab.device_sim.apple.device import AppleDevice
from pfxlab.device_sim.identity import Enrolled, Hardware
from pfxlab.device_sim.keys import NewKey, generate
from pfxlab.device_sim.omadm import mde2
from pfxlab.device_sim.omadm.android import AndroidDevice
from pfxlab.device_sim.omadm.windows import WindowsDevice
from pfxlab.emulator.wire.clock import Clock
from pfxlab.emulator.wire.platforms import APPLE

Device: TypeAlias = AppleDevice | WindowsDevice | AndroidDevice

DEVICES: Final[Mapping[str, type[Device]]] = {
    "ios": AppleDevice,
    "macos": AppleDevice,
    "windows": WindowsDevice,
    "android": AndroidDevice,
    "androidForWork": AndroidDevice,
    "androidDeviceOwner": AndroidDevice,
}
"""Name of a platform in emulator/wire/platforms.py → what plays a device of it."""


@dataclass(frozen=True)
class DeviceClient:
    """What devices need to know of the service: its address, the CA to trust; and where their keys come from."""

    service_url: str
    ca_pem: bytes
    clock: Clock
    new_key: NewKey = generate

    def _device(self, enrolled: Enrolled, folder: Path | None) -> Device:
        kind = DEVICES[enrolled.hardware.platform]
        device: Device
        if issubclass(kind, AppleDevice):
            device = kind(enrolled, self.ca_pem, folder)
        else:
            device = kind(enrolled, self.ca_pem, self.clock, folder)
        device.new_key = self.new_key
        return device

    def open(self, folder: Path) -> Device | None:
        """Return the enrolled device kept in a folder, or None."""
        enrolled = identity.load(folder)
        if enrolled is None:
            return None
        here = enrolled.management.at(self.service_url)
        return self._device(replace(enrolled, management=here), folder)

    async def enroll(
        self, folder: Path | None, user_token: str, upn: str, hardware: Hardware, *, user_affinity: bool = True
    ) -> Device:
        """Enrol a device by its platform's own protocol; with a folder it is kept there, in place of what was.

        Raises:
            EnrollmentRefused: the service's reason.
            SessionFailed: an Apple device was not taken after enrolment.

        """
        url, ca_pem, new_key = self.service_url, self.ca_pem, self.new_key
        if hardware.platform in APPLE:
            enrolled = await enrollment.enroll(
                url, ca_pem, user_token, hardware, new_key=new_key, user_affinity=user_affinity
            )
        else:
            enrolled = await mde2.enroll(
                url, ca_pem, user_token, upn, hardware, new_key=new_key, user_affinity=user_affinity
            )
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        device = self._device(enrolled, folder)
        if isinstance(device, AppleDevice):
            await device.announce()
        if folder is not None:
            # Last: a device that was not taken is enrolled anew.
            identity.save(folder, enrolled)
        return device
