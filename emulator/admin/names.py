"""What the product's portal calls platforms and purposes; Graph's own names stand in exports and records."""

from typing import Final

PLATFORMS: Final = {
    "ios": "iOS/iPadOS",
    "macos": "macOS",
    "windows": "Windows 10 and later",
    "android": "Android device administrator",
    "androidForWork": "Android Enterprise, personally-owned work profile",
    "androidDeviceOwner": "Android Enterprise, fully managed, dedicated and corporate-owned work profile",
}
"""Platform → what the portal calls it."""

PURPOSES: Final = {
    "unassigned": "Unassigned",
    "smimeEncryption": "S/MIME Encryption",
    "smimeSigning": "S/MIME Signing",
    "vpn": "VPN",
    "wifi": "Wi-Fi",
}
"""Graph's name of an intended purpose → what people read."""
