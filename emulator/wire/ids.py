"""Identifiers: how the service spells a record's key, an assignment's, a status row's.

Sources: sources.md#record-id, sources.md#assignments, sources.md#status-rows.
"""

import re
from typing import NamedTuple
from uuid import UUID, uuid5

from pfxlab.emulator.wire.text import quoted

ALL_USERS_GROUP = "acacacac-9df4-4c7d-9d50-4ef0226f57a9"
"""Pseudo group in the id of an assignment to all licensed users."""

ALL_DEVICES_GROUP = "adadadad-808e-44e2-905a-0b7873a8a531"
"""Pseudo group in the id of an assignment to all devices."""

_RECORD_ID = re.compile(r"(?P<user>[0-9a-f]{32})-(?P<thumbprint>.+)", re.DOTALL)


class RecordId(NamedTuple):
    """Key of a userPFXCertificate, split: directory id (dashed, lower case) and thumbprint (lower case)."""

    user_id: str
    thumbprint: str


_UPN = re.compile(r"[A-Za-z0-9.!#'^~_-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


def check_upn(text: str) -> str:
    """Return a user principal name that Entra ID would take: letters, digits and . - _ ! # ^ ~ ' before a domain.

    Raises:
        ValueError: another form.

    """
    if not _UPN.fullmatch(text) or len(text) > 113:
        raise ValueError(f"expected a user principal name such as user@example.org, got {quoted(text)}")
    return text


def record_id(user_id: str, thumbprint: str) -> str:
    """Return `{user id without dashes}-{thumbprint}`, lower case."""
    return f"{user_id.replace('-', '').lower()}-{thumbprint.lower()}"


def parse_record_id(text: str) -> RecordId:
    """Split a record's key, whatever case it came in.

    Raises:
        ValueError: the text is not 32 hexadecimal digits, a dash and a thumbprint.

    """
    match = _RECORD_ID.fullmatch(text.lower())
    if match is None:
        raise ValueError(f"expected 32 hexadecimal digits, '-' and a thumbprint, got {quoted(text)}")
    return RecordId(str(UUID(match["user"])), match["thumbprint"])


_OBJECTS = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562's namespace for URLs


def application_object_id(app_id: str) -> str:
    """Return the object id of the application registration with that client id."""
    return str(uuid5(_OBJECTS, f"application/{app_id.lower()}"))


def service_principal_id(app_id: str) -> str:
    """Return the object id of an application's service principal: the `oid` of its tokens."""
    return str(uuid5(_OBJECTS, f"servicePrincipal/{app_id.lower()}"))


def assignment_id(configuration_id: str, group_id: str) -> str:
    """Return the id Graph gives an assignment of a configuration to a (pseudo) group."""
    return f"{configuration_id}_{group_id}"


def status_row_id(user_id: str, configuration_id: str, device_id: str) -> str:
    """Return the id of a deviceConfigurationDeviceStatus row."""
    return f"{user_id}_{configuration_id}_{device_id}"
