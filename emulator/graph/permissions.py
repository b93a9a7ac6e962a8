"""Who may call what. Sources: sources.md#graph-permissions, sources.md#http-statuses."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pfxlab.emulator.entra.caller import Caller
from pfxlab.emulator.entra.grants import GLOBAL_ADMINISTRATOR, INTUNE_ADMINISTRATOR
from pfxlab.emulator.graph import errors


@dataclass(frozen=True)
class Permissions:
    """Scopes of which one is enough; `service` is the Intune back end that refuses, None the directory.

    `application`: what an application needs where that differs from what a user needs.
    """

    scopes: tuple[str, ...]
    service: str | None = None
    application: tuple[str, ...] | None = None

    def wanted_of(self, caller: Caller) -> tuple[str, ...]:
        """Return the scopes of which a caller needs one."""
        return self.scopes if caller.user_id is not None or self.application is None else self.application


def _intune(area: str, service: str, *, write: bool, read: bool = True) -> Permissions:
    names = [f"{area}.Read.All"] if read and not write else []
    return Permissions((*names, f"{area}.ReadWrite.All"), service)


CONFIGURATION: Final = "DeviceManagementConfiguration"
PFX_READ: Final = _intune(CONFIGURATION, errors.PFX_SERVICE, write=False)
PFX_WRITE: Final = _intune(CONFIGURATION, errors.PFX_SERVICE, write=True)
CONFIGURATION_READ: Final = _intune(CONFIGURATION, errors.CONFIGURATION_SERVICE, write=False)
CONFIGURATION_WRITE: Final = _intune(CONFIGURATION, errors.CONFIGURATION_SERVICE, write=True)
CONNECTOR_WRITE: Final = Permissions(
    ("DeviceManagementServiceConfig.ReadWrite.All", *CONFIGURATION_WRITE.scopes), errors.CONFIGURATION_SERVICE
)
"""To rename a connector. Source: sources.md#connector-permissions."""
DEVICE_READ: Final = _intune("DeviceManagementManagedDevices", errors.DEVICE_SERVICE, write=False)
DEVICE_WRITE: Final = _intune("DeviceManagementManagedDevices", errors.DEVICE_SERVICE, write=True)
DEVICE_ACTION: Final = Permissions(("DeviceManagementManagedDevices.PrivilegedOperations.All",), errors.DEVICE_SERVICE)
_DIRECTORY_WRITE: Final = "Directory.ReadWrite.All"
_DIRECTORY: Final = ("Directory.Read.All", _DIRECTORY_WRITE)
USER_PROFILE_READ: Final = Permissions(("User.Read.All", "User.ReadWrite.All", *_DIRECTORY))
USER_READ: Final = Permissions(("User.ReadBasic.All", *USER_PROFILE_READ.scopes))
GROUP_READ: Final = Permissions(
    (
        "GroupMember.Read.All", "Group.Read.All", "GroupMember.ReadWrite.All", "Group.ReadWrite.All",
        "Directory.Read.All", "Directory.ReadWrite.All",
    )
)  # fmt: skip

ME_READ: Final = Permissions(("User.Read", *USER_READ.scopes))
USER_WRITE: Final = Permissions(("User.ReadWrite.All", _DIRECTORY_WRITE))
SESSIONS_REVOKE: Final = Permissions(("User.RevokeSessions.All", *USER_WRITE.scopes))
GROUP_ALL: Final = Permissions(("Group.ReadWrite.All", _DIRECTORY_WRITE))
APPLICATION_READ: Final = Permissions(
    ("Application.Read.All", "Application.ReadWrite.All", "Directory.Read.All", _DIRECTORY_WRITE)
)
APPLICATION_WRITE: Final = Permissions(("Application.ReadWrite.All", _DIRECTORY_WRITE))
ROLE_ASSIGNMENT_WRITE: Final = Permissions(("AppRoleAssignment.ReadWrite.All",))
GRANT_READ: Final = Permissions(("DelegatedPermissionGrant.ReadWrite.All", "Directory.Read.All", _DIRECTORY_WRITE))
GRANT_WRITE: Final = Permissions(("DelegatedPermissionGrant.ReadWrite.All", _DIRECTORY_WRITE))
ROLE_READ: Final = Permissions(
    ("RoleManagement.Read.Directory", "RoleManagement.ReadWrite.Directory", "Directory.Read.All", _DIRECTORY_WRITE)
)
ROLE_WRITE: Final = Permissions(("RoleManagement.ReadWrite.Directory",))
ORGANIZATION_READ: Final = Permissions(("User.Read", "Organization.Read.All", "Directory.Read.All", _DIRECTORY_WRITE))
GROUP_WRITE: Final = Permissions(("GroupMember.ReadWrite.All", "Group.ReadWrite.All", "Directory.ReadWrite.All"))
DEVICE_OBJECT_READ: Final = Permissions(("Device.Read.All", "Device.ReadWrite.All", *_DIRECTORY))
USER_MEMBERSHIP_READ: Final = Permissions(
    ("User.Read.All", "GroupMember.Read.All", *_DIRECTORY), application=_DIRECTORY
)
MY_MEMBERSHIP_READ: Final = Permissions(("User.Read", *USER_MEMBERSHIP_READ.scopes))
GROUP_MEMBERSHIP_READ: Final = Permissions(("GroupMember.Read.All", "Group.Read.All", *_DIRECTORY))
DEVICE_MEMBERSHIP_READ: Final = Permissions(("Device.Read.All", *_DIRECTORY))

_INTUNE_ROLES = frozenset({INTUNE_ADMINISTRATOR, GLOBAL_ADMINISTRATOR})


def check(permissions: Permissions, caller: Caller) -> None:
    """Let the caller pass, or refuse as the service in charge does.

    Raises:
        GraphError: none of the scopes is held, or a signed-in user has no Intune role.

    """
    wanted = permissions.wanted_of(caller)
    if not _holds(wanted, caller.scopes):
        if permissions.service is None:
            raise errors.directory_forbidden(wanted, caller.scopes)
        raise errors.intune_forbidden(permissions.service, wanted, caller.scopes)
    if permissions.service is not None and caller.user_id is not None and not _INTUNE_ROLES & caller.directory_roles:
        reason = "the token's scopes suffice, but its user is neither Intune nor Global Administrator"
        raise errors.user_forbidden(permissions.service, reason)


def _holds(wanted: Iterable[str], held: frozenset[str]) -> bool:
    return any(scope in held for scope in wanted)
