"""Microsoft Graph's own permissions that matter here, with the ids applications ask for them by.

Source: sources.md#permission-ids. The ids are the same in every tenant.
"""

from typing import Final, NamedTuple


class PermissionIds(NamedTuple):
    """Ids of one permission: as an application role and as a delegated scope; None where there is no such kind."""

    role: str | None
    scope: str | None


PERMISSIONS: Final = {
    "DeviceManagementConfiguration.Read.All": PermissionIds(
        "dc377aa6-52d8-4e23-b271-2a7ae04cedf3", "f1493658-876a-4c87-8fa7-edb559b3476a"
    ),
    "DeviceManagementConfiguration.ReadWrite.All": PermissionIds(
        "9241abd9-d0e6-425a-bd4f-47ba86e767a4", "0883f392-0a7a-443d-8c76-16a6d39c7b63"
    ),
    "DeviceManagementManagedDevices.Read.All": PermissionIds(
        "2f51be20-0bb4-4fed-bf7b-db946066c75e", "314874da-47d6-4978-88dc-cf0d37f0bb82"
    ),
    "DeviceManagementManagedDevices.ReadWrite.All": PermissionIds(
        "243333ab-4d21-40cb-a475-36241daa0842", "44642bfe-8385-4adc-8fc6-fe3cb2c375c3"
    ),
    "DeviceManagementManagedDevices.PrivilegedOperations.All": PermissionIds(
        "5b07b0dd-2377-4e44-a38d-703f09a0dc3c", "3404d2bf-2b13-457e-a330-c24615765193"
    ),
    "User.Read": PermissionIds(None, "e1fe6dd8-ba31-4d61-89e7-88639da4683d"),
    "User.ReadBasic.All": PermissionIds("97235f07-e226-4f63-ace3-39588e11d3a1", "b340eb25-3456-403f-be2f-af7a0d370277"),
    "User.Read.All": PermissionIds("df021288-bdef-4463-88db-98f22de89214", "a154be20-db9c-4678-8ab7-66f6cc099a59"),
    "User.ReadWrite.All": PermissionIds("741f803b-c850-494e-b5df-cde7c675a1ca", "204e0828-b5ca-4ad8-b9f3-f32a958e7cc4"),
    "Group.Read.All": PermissionIds("5b567255-7703-4780-807c-7be8301ae99b", "5f8c59db-677d-491f-a6b8-5f174b11ec1d"),
    "Group.ReadWrite.All": PermissionIds(
        "62a82d76-70ea-41e2-9197-370581804d09", "4e46008b-f24c-477d-8fff-7bb4ec7aafe0"
    ),
    "GroupMember.Read.All": PermissionIds(
        "98830695-27a2-44f7-8c18-0c3ebc9698f6", "bc024368-1153-4739-b217-4326f2e966d0"
    ),
    "GroupMember.ReadWrite.All": PermissionIds(
        "dbaae8cf-10b5-4b86-a4a1-f871c94c6695", "f81125ac-d3b7-4573-a3b2-7099cc39df9e"
    ),
    "User.RevokeSessions.All": PermissionIds(
        "77f3a031-c388-4f99-b373-dc68676a979e", "fc30e98b-8810-4501-81f5-c20a3196387b"
    ),
    "Directory.Read.All": PermissionIds("7ab1d382-f21e-4acd-a863-ba3e13f7da61", "06da0dbc-49e2-44d2-8312-53f166ab848a"),
    "Directory.ReadWrite.All": PermissionIds(
        "19dbc75e-c2e2-444c-a770-ec69d8559fc7", "c5366453-9fb0-48a5-a156-24f0c49a4b84"
    ),
    "Application.Read.All": PermissionIds(
        "9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30", "c79f8feb-a9db-4090-85f9-90d820caa0eb"
    ),
    "Application.ReadWrite.All": PermissionIds(
        "1bfefb4e-e0b5-418b-a88f-73c46d2cc8e9", "bdfbf15f-ee85-4955-8675-146e8e5296b5"
    ),
    "AppRoleAssignment.ReadWrite.All": PermissionIds(
        "06b708a9-e830-4db3-a914-8e69da51d44f", "84bccea3-f856-4a8a-967b-dbe0a3d53a64"
    ),
    "DelegatedPermissionGrant.ReadWrite.All": PermissionIds(
        "8e8e4742-1d95-4f68-9d56-6ee75648c72a", "41ce6ca6-6826-4807-84f1-1c82854f7ee5"
    ),
    "RoleManagement.Read.Directory": PermissionIds(
        "483bed4a-2ad3-4361-a73b-c83ccdbdc53c", "741c54c3-0c1e-44a1-818b-3f97ab4e8c83"
    ),
    "RoleManagement.ReadWrite.Directory": PermissionIds(
        "9e3f62cf-ca93-4989-b6ce-bf83c28f9fe8", "d01b97e9-cbc0-49fe-810a-750afd5527a3"
    ),
}
"""Permission → its ids."""

BY_ROLE: Final = {ids.role: name for name, ids in PERMISSIONS.items() if ids.role is not None}
"""Id of an application role → its permission."""

BY_SCOPE: Final = {ids.scope: name for name, ids in PERMISSIONS.items() if ids.scope is not None}
"""Id of a delegated scope → its permission."""
