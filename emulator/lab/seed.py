"""The directory a new lab starts with: one tenant, its applications, users and a group.

Ids follow from the seed. Secrets are random; only their hashes enter the store, so the caller must keep what
`seed` returns.
"""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.entra.grants import GLOBAL_ADMINISTRATOR, INTUNE_ADMINISTRATOR
from pfxlab.emulator.entra.principals.users import set_state
from pfxlab.emulator.graph.directory.user_properties import set_properties
from pfxlab.emulator.secret_words import secret_word
from pfxlab.emulator.store.database import to_text

_NAMESPACE = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 4122's namespace for URLs
_CONFIGURATION = "DeviceManagementConfiguration.ReadWrite.All"
_TENANT_NAME = "PFX Lab"
_ADMIN_SCOPES = (
    _CONFIGURATION,
    "DeviceManagementManagedDevices.ReadWrite.All",
    "DeviceManagementManagedDevices.PrivilegedOperations.All",
    "User.Read.All",
    "Group.Read.All",
    "GroupMember.ReadWrite.All",
)
_SETUP_ROLES = (
    "Application.ReadWrite.All",
    "AppRoleAssignment.ReadWrite.All",
    "DelegatedPermissionGrant.ReadWrite.All",
    "Directory.Read.All",
    "Group.ReadWrite.All",
    "RoleManagement.ReadWrite.Directory",
    "User.ReadWrite.All",
)


@dataclass(frozen=True)
class Credentials:
    """What an operator needs to sign in to a seeded lab."""

    tenant_id: str
    admin_client_id: str
    admin_client_secret: str = field(repr=False)
    limited_client_id: str
    limited_client_secret: str = field(repr=False)
    setup_client_id: str
    setup_client_secret: str = field(repr=False)
    public_client_id: str
    operator_upn: str
    operator_password: str = field(repr=False)
    user_upn: str
    user_password: str = field(repr=False)
    group_id: str


def stable_id(cloud: Cloud, name: str) -> str:
    """Return the GUID that this lab's seed gives to a named object."""
    return str(uuid5(_NAMESPACE, f"https://{cloud.config.domain}/{cloud.config.seed}/{name}"))


def add_user(cloud: Cloud, tenant_id: str, upn: str, password: str, roles: tuple[str, ...] = ()) -> str:
    """Add a user, or set the password of the one with that name, whose roles stay unless some are given."""
    known = cloud.directory.user(tenant_id, upn)
    user_id = stable_id(cloud, f"user/{upn.lower()}") if known is None else str(known["id"])
    row = {
        "id": user_id,
        "tenant_id": tenant_id,
        "user_principal_name": upn if known is None else known["user_principal_name"],
        "display_name": f"Test user {upn.partition('@')[0]}" if known is None else known["display_name"],
        "mail": upn if known is None else known["mail"],
        "properties": {} if known is None else json.loads(known["properties"]),
        "directory_roles": roles if known is None or roles else tuple(json.loads(known["directory_roles"])),
        "created": to_text(cloud.clock.now()) if known is None else known["created"],
    }
    cloud.directory.add_user(row, password)
    return user_id


_ROLES = {"intune_administrator": INTUNE_ADMINISTRATOR, "global_administrator": GLOBAL_ADMINISTRATOR}
_APP_LISTS = ("app_roles", "delegated_scopes", "requested_app_roles", "requested_scopes")


def seed_tenants(cloud: Cloud) -> None:
    """Write the further tenants of the configuration; those already there are brought in line with it."""
    with cloud.store.atomic():
        for tenant in cloud.config.tenants:
            _seed_tenant(cloud, tenant)


def _seed_tenant(cloud: Cloud, tenant: dict[str, Any]) -> None:
    directory, domain = cloud.directory, tenant["domain"]
    if domain.lower() == cloud.config.domain:
        # The lab's own tenant, which is there already, gets more users, groups and applications.
        tenant_id = stable_id(cloud, "tenant")
    else:
        tenant_id = str(tenant.get("id") or stable_id(cloud, f"tenant/{domain}")).lower()
        directory.add_tenant(tenant_id, domain, domain)
    ids = {}
    for user in tenant.get("users", ()):
        roles = tuple(_ROLES[name] for name in user.get("roles", ()))
        user_id = ids[user["upn"].lower()] = add_user(cloud, tenant_id, user["upn"], user["password"], roles)
        row = directory.user(tenant_id, user_id)
        if row is not None and {"sign_in", "licence"} & set(user):
            set_state(cloud, row, user.get("sign_in"), licence=user.get("licence"))
            row = directory.user(tenant_id, user_id)
        if row is not None and "properties" in user:
            set_properties(cloud, row, user["properties"])
    for group in tenant.get("groups", ()):
        group_id = stable_id(cloud, f"group/{domain}/{group['name']}")
        directory.add_group(group_id, tenant_id, group["name"], to_text(cloud.clock.now()))
        for member_id in directory.members_of(group_id):
            directory.remove_member(group_id, member_id)
        for upn in group.get("members", ()):
            directory.add_member(group_id, ids[upn.lower()])
    for app in tenant.get("apps", ()):
        lists = {name: app.get(name, ()) for name in _APP_LISTS}
        known = directory.app(app["id"])
        if known is not None:
            # What an administrator consented to since the last start stays granted.
            lists["app_roles"] = {*lists["app_roles"], *known.app_roles}
            lists["delegated_scopes"] = {*lists["delegated_scopes"], *known.delegated_scopes}
        pems = [app["certificate"]] if "certificate" in app else []
        secret = app.get("secret")
        directory.add_app(app["id"].lower(), tenant_id, app["name"], secret=secret, certificates=pems, **lists)


def seed(cloud: Cloud) -> Credentials:
    """Write the start directory and return its fresh secrets; on a store that has it, only secrets change."""
    domain = cloud.config.domain
    made = Credentials(
        tenant_id=stable_id(cloud, "tenant"),
        admin_client_id=stable_id(cloud, "app/admin"),
        admin_client_secret=secret_word(30),
        limited_client_id=stable_id(cloud, "app/limited"),
        limited_client_secret=secret_word(30),
        setup_client_id=stable_id(cloud, "app/setup"),
        setup_client_secret=secret_word(30),
        public_client_id=stable_id(cloud, "app/public"),
        operator_upn=f"admin@{domain}",
        operator_password=secret_word(18),
        user_upn=f"user@{domain}",
        user_password=secret_word(18),
        group_id=stable_id(cloud, "group/users"),
    )
    with cloud.store.atomic():
        cloud.directory.add_tenant(made.tenant_id, domain, _TENANT_NAME)
        for client_id in _applications(made):
            _add_application(cloud, made, client_id)
        for upn in (made.operator_upn, made.user_upn):
            _add_person(cloud, made, upn)
        _add_group(cloud, made)
    return made


def restore(cloud: Cloud, made: Credentials) -> None:
    """Put back what the ready file promises and somebody deleted since: tenant, applications, users, the group."""
    directory = cloud.directory
    with cloud.store.atomic():
        if directory.tenant(made.tenant_id) is None:
            directory.add_tenant(made.tenant_id, cloud.config.domain, _TENANT_NAME)
        for client_id in _applications(made):
            if directory.app(client_id) is None:
                _add_application(cloud, made, client_id)
        for upn in (made.operator_upn, made.user_upn):
            if directory.user(made.tenant_id, stable_id(cloud, f"user/{upn.lower()}")) is None:
                _add_person(cloud, made, upn)
        if directory.group(made.tenant_id, made.group_id) is None:
            _add_group(cloud, made)


def _applications(made: Credentials) -> dict[str, dict[str, Any]]:
    """Return the applications of a new lab by client id."""
    delegated = (*_ADMIN_SCOPES, "User.Read")
    return {
        made.admin_client_id: {
            "display_name": "Certificate import tool",
            "secret": made.admin_client_secret,
            "app_roles": _ADMIN_SCOPES,
            "delegated_scopes": delegated,
        },
        made.limited_client_id: {
            "display_name": "Directory reader without Intune permissions",
            "secret": made.limited_client_secret,
            "app_roles": ("User.Read.All",),
            "delegated_scopes": ("User.Read", "User.Read.All"),
        },
        made.setup_client_id: {
            "display_name": "Directory set-up",
            "secret": made.setup_client_secret,
            "app_roles": _SETUP_ROLES,
        },
        made.public_client_id: {
            "display_name": "Certificate import tool (public)",
            "delegated_scopes": delegated,
        },
    }


def _add_application(cloud: Cloud, made: Credentials, client_id: str) -> None:
    cloud.directory.add_app(client_id, made.tenant_id, **_applications(made)[client_id])
    cloud.directory.change_app(client_id, has_principal=True)


def _add_person(cloud: Cloud, made: Credentials, upn: str) -> None:
    password = made.operator_password if upn == made.operator_upn else made.user_password
    add_user(cloud, made.tenant_id, upn, password, (INTUNE_ADMINISTRATOR,))


def _add_group(cloud: Cloud, made: Credentials) -> None:
    cloud.directory.add_group(made.group_id, made.tenant_id, "Mail users", to_text(cloud.clock.now()))
    cloud.directory.add_member(made.group_id, stable_id(cloud, f"user/{made.user_upn.lower()}"))
