"""Devices of a lab by name: enrolment, lock state, and the actions an administrator requests in Graph."""

from typing import Final

from pfxlab.device_sim.apple.device import AppleDevice
from pfxlab.device_sim.client import Device
from pfxlab.device_sim.omadm.android import AndroidDevice
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.tenant.administrator import Administrator
from pfxlab.scenarios.lab.tenant.directory import TenantDirectory
from pfxlab.scenarios.lab.tenant.names import named

_MANAGED_DEVICES: Final = "/beta/deviceManagement/managedDevices"


class TenantDevices:
    """Simulated devices, by the names they were enrolled under."""

    def __init__(self, lab: Lab, administrator: Administrator, directory: TenantDirectory) -> None:
        self._lab, self._administrator, self._directory = lab, administrator, directory

    async def enroll(self, name: str, platform: str, upn: str, os_version: str | None = None) -> Device:
        """Enrol a user's device under a name; the user is added if missing.

        Raises:
            EnrollmentRefused: the service's reason.

        """
        self._directory.user(upn)
        return await self._lab.device(platform, upn, os_version, name=name)

    def get(self, name: str) -> Device:
        """Return a device by its name.

        Raises:
            Unknown: there is none.

        """
        device: Device = named(self._lab.devices, name, "device")
        return device

    async def request(self, name: str, action: str) -> None:
        """Request an action in Graph: syncDevice, wipe, retire; or `delete` the device's record.

        Raises:
            GraphRefused: Graph's error.
            Unknown: no such device.

        """
        path = f"{_MANAGED_DEVICES}/{self.get(name).identity.device_id}"
        if action == "delete":
            await self._administrator.call("DELETE", path)
        else:
            await self._administrator.call("POST", f"{path}/{action}", {})

    def lock(self, name: str, *, locked: bool) -> None:
        """Lock or unlock a device: an Apple device's passcode, a PC's user session, a work profile.

        Raises:
            Unknown: no such device.

        """
        device = self.get(name)
        if isinstance(device, AppleDevice):
            device.locked = locked
        elif isinstance(device, AndroidDevice):
            device.owner.work_profile_paused = locked
        else:
            device.user_active = not locked
