"""The error numbers Intune's portal and certificateErrorCode show for what a device or a connector refused. Pure.

Source: sources.md#portal-error-numbers. What the portal makes of a non-zero Status of PFXCertInstall, and of a
connector's failure, is unknown: sources.md#certificate-error-codes.
"""

from typing import Final

_SYNCML: Final = -2016346112
_APPLE: Final = -2016336112
_AGENT: Final = -2016345412
_AGENT_CODES: Final = range(1400, 1500)
_HRESULT_FROM_WIN32: Final = -2147024896
_LARGEST_WIN32: Final = 0xFFFF

NO_PFX_TO_INSTALL: Final = -2016281100
"""No PFX certificate was found to install."""

REMEDIATION_FAILED: Final = -2016281112
"""The device says that all is well, and is found without the certificate."""


def of_syncml(status: int) -> int:
    """Return the number of a SyncML status such as 507."""
    return _SYNCML + status


def of_apple(code: int) -> int:
    """Return the number of an ErrorCode such as 9000."""
    return _APPLE + code


def of_status(status: int) -> int:
    """Return the number of PFXCertInstall's Status: an HRESULT as it is, a Win32 error as an HRESULT."""
    return _HRESULT_FROM_WIN32 + status if 0 < status <= _LARGEST_WIN32 else status


def of_agent(status: int) -> int:
    """Return the number of a Status of Android's agent: its own codes have an offset, others are as on Windows."""
    return _AGENT + status if status in _AGENT_CODES else of_status(status)
