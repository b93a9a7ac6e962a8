"""The connector's event log: the real product's ids, names, channels (sources.md#connector-events), as JSON lines.

Two channels as on Windows, Admin and Operational, in one file; at 50 MB it is archived, as the product's is.
"""

from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from pfxlab import private_file
from pfxlab.emulator.wire import jsontext
from pfxlab.emulator.wire.clock import Clock

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
HEALTH_UPLOAD_FAILURE: Final = 5002
SERVICE_STARTED: Final = 1
SERVICE_STOPPED: Final = 2
CERTIFICATE_RENEWED: Final = 3
VERSION_DEPRECATED: Final = 4

NAMES: Final = {
    SERVICE_STARTED: "ServiceStarted",
    SERVICE_STOPPED: "ServiceStopped",
    CERTIFICATE_RENEWED: "CertificateRenewed",
    VERSION_DEPRECATED: "VersionDeprecated",
    PKCS_IMPORT_SUCCESS: "PkcsImportRequestSuccess",
    PKCS_IMPORT_FAILURE: "PkcsImportRequestFailure",
    DOWNLOADED_REQUEST: "PkcsImportDownloadedRequest",
    REENCRYPT_SUCCESS: "PkcsImportReencryptSuccess",
    REENCRYPT_FAILED_ATTEMPT: "PkcsImportReencryptFailedAttempt",
    REENCRYPT_FAILURE: "PkcsImportReencryptFailure",
    UPLOAD_SUCCESS: "PkcsImportUploadSuccess",
    UPLOAD_FAILURE: "PkcsImportUploadFailure",
    UPLOADED_REQUEST: "PkcsImportUploadedRequest",
    DOWNLOAD_SUCCESS: "PkcsImportDownloadSuccess",
    DOWNLOAD_FAILURE: "PkcsImportDownloadFailure",
    HEALTH_UPLOAD_SUCCESS: "HealthMessageUploadSuccess",
    HEALTH_UPLOAD_FAILED_ATTEMPT: "HealthMessageUploadFailedAttempt",
    HEALTH_UPLOAD_FAILURE: "HealthMessageUploadFailure",
}
"""Event id → name. Those below 1000 are general events, whose names are ours."""

ADMIN: Final = frozenset({PKCS_IMPORT_SUCCESS, PKCS_IMPORT_FAILURE})
HEALTH: Final = frozenset({HEALTH_UPLOAD_SUCCESS, HEALTH_UPLOAD_FAILED_ATTEMPT, HEALTH_UPLOAD_FAILURE})
_ERRORS: Final = frozenset(
    {PKCS_IMPORT_FAILURE, REENCRYPT_FAILURE, UPLOAD_FAILURE, DOWNLOAD_FAILURE, HEALTH_UPLOAD_FAILURE}
)
_WARNINGS: Final = frozenset({REENCRYPT_FAILED_ATTEMPT, HEALTH_UPLOAD_FAILED_ATTEMPT, VERSION_DEPRECATED})
# One of these comes for each request, and one of another kind soon after: that one writes them to the file.
_MANY: Final = frozenset({DOWNLOADED_REQUEST, REENCRYPT_SUCCESS, UPLOADED_REQUEST})
_LONGEST_TEXT: Final = 2000
_LARGEST: Final = 50 * 2**20


class Event(NamedTuple):
    """One record; `fields` never hold a password, key or blob. Four for each request, so a light one."""

    id: int
    text: str
    fields: Mapping[str, Any] = MappingProxyType({})

    @property
    def name(self) -> str:
        """Return the event's name in the product."""
        return NAMES[self.id]

    @property
    def channel(self) -> str:
        """Return the log it belongs to: Admin or Operational."""
        return "Admin" if self.id in ADMIN else "Operational"

    @property
    def level(self) -> str:
        """Return Error, Warning or Information."""
        if self.id in _ERRORS:
            return "Error"
        return "Warning" if self.id in _WARNINGS else "Information"


EventSink = Callable[[Event], None]


def as_line(event: Event, when: datetime) -> dict[str, Any]:
    """Return an event as the log keeps it, without its fields."""
    return {
        "time": when.isoformat(),
        "id": event.id,
        "name": event.name,
        "channel": f"Microsoft-Intune-CertificateConnectors/{event.channel}",
        "level": event.level,
        "text": event.text,
    }


class PendingEvents:
    """Events not yet reported to the service; events of single requests stay on the server.

    Errors and warnings have a place of their own, so that no number of other events drives them out.
    """

    def __init__(self, clock: Clock, most: int = 200) -> None:
        self._clock = clock
        self._places: tuple[deque[dict[str, Any]], ...] = (deque(maxlen=most), deque(maxlen=most))

    def add(self, event: Event) -> None:
        """Keep an event until the next heartbeat."""
        if event.id not in _MANY and event.id != PKCS_IMPORT_SUCCESS:
            line = as_line(event, self._clock.now())
            self._places[event.level == "Information"].append({**line, "text": line["text"][:_LONGEST_TEXT]})

    def lines(self) -> list[dict[str, Any]]:
        """Return the events to report, oldest first."""
        return sorted((line for place in self._places for line in place), key=lambda line: str(line["time"]))

    def drop_reported(self, lines: list[dict[str, Any]]) -> None:
        """Drop the events that the service has accepted."""
        known = {id(line) for line in lines}
        for place in self._places:
            kept = [line for line in place if id(line) not in known]
            place.clear()
            place.extend(kept)


class EventLogFile:
    """Writes events as JSON lines; a file that has grown to 50 MB becomes the archive, in place of the one before."""

    def __init__(self, path: Path, clock: Clock, largest: int = _LARGEST) -> None:
        self._path, self._clock, self._largest = path, clock, largest
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = private_file.append(path)

    def __call__(self, event: Event) -> None:
        """Append an event."""
        line = {**as_line(event, self._clock.now()), **event.fields}
        self._file.write(jsontext.encode(line) + b"\n")
        if event.id not in _MANY:
            self._file.flush()
        if self._file.tell() >= self._largest:
            self._file.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._file = private_file.append(self._path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
