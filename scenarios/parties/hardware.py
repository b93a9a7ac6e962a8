"""What simulated devices say about themselves, the same in each run of a seed."""

from dataclasses import replace
from typing import Final

from pfxlab.device_sim.identity import Hardware
from pfxlab.emulator.seeded_random import SeededRandom

HARDWARE: Final = {
    "ios": Hardware("ios", "iPhone", "18.1", "iPhone 15", "Apple", "", ""),
    "macos": Hardware("macos", "MacBook", "15.1", "MacBook Air", "Apple", "", ""),
    "windows": Hardware("windows", "Windows PC", "10.0.26100.1", "Virtual PC", "PFX Lab", "", ""),
    "android": Hardware("android", "Android", "9", "Virtual phone", "PFX Lab", "", ""),
    "androidForWork": Hardware("androidForWork", "Android work profile", "14", "Virtual phone", "PFX Lab", "", ""),
    "androidDeviceOwner": Hardware("androidDeviceOwner", "Android device", "14", "Virtual phone", "PFX Lab", "", ""),
}
"""Platform → the properties a simulated device reports, except name, serial number and UDID."""


def hardware_of(platform: str, owner: str, seed: int, which: str) -> Hardware:
    """Return a device's facts; its UDID derives from the seed and `which`, so that a fleet is the same each time."""
    model = HARDWARE[platform]
    udid = SeededRandom(seed, 0, which).guid().upper()
    name = f"{model.device_name} of {owner.partition('@')[0]}"
    return replace(model, device_name=name, serial_number=f"SIM{udid[:8]}", udid=udid)
