"""The connector's event log: the real product's ids and names (reference graph-intune 6.5), one record each."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

PKCS_IMPORT_SUCCESS: Final = 2000
PKCS_IMPORT_FAILURE: Final = 2001
DOWNLOADED_REQUEST: Final = 2020
REENCRYPT_SUCCESS: Final = 2050
REENCRYPT_FAILED_ATTEMPT: Final = 2051
REENCRYPT_FAILURE: Final = 2052
UPLOAD_SUCCESS: Final = 2100
UPLOAD_FAILURE: Final = 2101
UPLOADED_REQUEST: Final = 2102
DOWNLOAD_SUCCESS: Final = 2202
DOWNLOAD_FAILURE: Final = 2203
HEALTH_UPLOAD_SUCCESS: Final = 5000
HEALTH_UPLOAD_FAILED_ATTEMPT: Final = 5001


@dataclass(frozen=True)
class Event:
    """One record; `fields` never hold a password, key or blob."""

    id: int
    text: str
    fields: dict[str, Any] = field(default_factory=dict)


EventSink = Callable[[Event], None]
