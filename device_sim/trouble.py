"""What goes wrong on a device when it installs, apart from what it is given: no room, or somebody's refusal."""

from enum import StrEnum


class Trouble(StrEnum):
    """Why a device that could install a certificate does not."""

    STORAGE_FULL = "storage_full"
    REFUSES = "refuses"
