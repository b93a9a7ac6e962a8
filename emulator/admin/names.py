"""What the product's portal calls purposes; Graph's own names stand in exports and records."""

from typing import Final

PURPOSES: Final = {
    "unassigned": "Unassigned",
    "smimeEncryption": "S/MIME Encryption",
    "smimeSigning": "S/MIME Signing",
    "vpn": "VPN",
    "wifi": "Wi-Fi",
}
"""Graph's name of an intended purpose → what people read."""
