"""What a lab can be started with beside the cloud."""

from typing import Final

PARTS: Final = ("connector", "devices")
