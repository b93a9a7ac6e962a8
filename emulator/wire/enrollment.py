"""Where devices check in. Windows and Android enrol by MDE2 (mde2.py), Apple by profile (apple_enrollment.py)."""

from typing import Final

OMADM_PATH: Final = "/devicegatewayproxy/cimhandler.ashx"
ANDROID_PATH: Final = "/devicegatewayproxy/AndroidHandler.ashx"
APPLE_ENROLL_PATH: Final = "/mdm/apple/enroll"
APPLE_SCEP_PATH: Final = "/mdm/apple/scep"
APPLE_CHECKIN_PATH: Final = "/mdm/apple/checkin"
APPLE_COMMAND_PATH: Final = "/mdm/apple/connect"

LARGEST_MESSAGE: Final = 4 * 1024 * 1024
"""Bytes of a device's message; a hundred certificates listed by a device are less than half a megabyte."""
