"""The application that asks for a token: one of the tenant's, or one of Microsoft's own that every tenant has.

Source: sources.md#well-known-applications.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.entra import errors
from pfxlab.emulator.store.database import Row
from pfxlab.emulator.store.directory import App

AZURE_MANAGEMENT: Final = "797f4846-ba00-4fd7-ba43-dac1f8f63013"
AZURE_AD_GRAPH: Final = "00000002-0000-0000-c000-000000000000"

_RESOURCES: Final = {
    AZURE_MANAGEMENT: AZURE_MANAGEMENT,
    "https://management.core.windows.net": AZURE_MANAGEMENT,
    "https://management.azure.com": AZURE_MANAGEMENT,
    "https://management.core.usgovcloudapi.net": AZURE_MANAGEMENT,
    "https://management.usgovcloudapi.net": AZURE_MANAGEMENT,
    "https://management.core.chinacloudapi.cn": AZURE_MANAGEMENT,
    "https://management.chinacloudapi.cn": AZURE_MANAGEMENT,
    AZURE_AD_GRAPH: AZURE_AD_GRAPH,
    "https://graph.windows.net": AZURE_AD_GRAPH,
}
"""Names of Microsoft's resources beside Graph.

Source: sources.md#azure-management.
"""


@dataclass(frozen=True)
class WellKnownApp:
    """A public client of Microsoft's. `scopes`: what it may do without consent, by the application id of a resource.

    `asks`: it may ask for any permission of Graph, once an administrator has consented.
    """

    name: str
    scopes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    asks: bool = False


_AZURE_TOOL: Final = (
    "Application.ReadWrite.All",
    "AppRoleAssignment.ReadWrite.All",
    "AuditLog.Read.All",
    "DelegatedPermissionGrant.ReadWrite.All",
    "Directory.AccessAsUser.All",
    "Group.ReadWrite.All",
    "User.Read.All",
    "User.ReadWrite.All",
)
_USER_IMPERSONATION: Final = {AZURE_MANAGEMENT: ("user_impersonation",), AZURE_AD_GRAPH: ("user_impersonation",)}
_GRAPH: Final = "00000003-0000-0000-c000-000000000000"

WELL_KNOWN: Final = {
    "14d82eec-204b-4c2f-b7e8-296a70dab67e": WellKnownApp("Microsoft Graph Command Line Tools", asks=True),
    "04b07795-8ddb-461a-bbee-02f9e1bf7b46": WellKnownApp(
        "Microsoft Azure CLI", {_GRAPH: _AZURE_TOOL, **_USER_IMPERSONATION}
    ),
    "1950a258-227b-4e31-a9cf-717495945fc2": WellKnownApp(
        "Microsoft Azure PowerShell", {_GRAPH: _AZURE_TOOL, **_USER_IMPERSONATION}
    ),
}
"""Client id → application. Every tenant knows them; none of them is in a tenant's list of registrations."""

RETIRED: Final = {"d1ddf0e4-d672-4dae-b554-9d5bdfd93547": "Microsoft Intune PowerShell"}
"""Client id → name of what Microsoft has withdrawn: old scripts still hold it."""


def names_of(resource: str) -> list[str]:
    """Return every name of a resource, by its application id."""
    return [name for name, owner in _RESOURCES.items() if owner == resource]


def resource_of(name: str) -> str | None:
    """Return the application id of a resource of Microsoft's that is not Graph, by any of its names, or None."""
    return _RESOURCES.get(name.rstrip("/").lower())


def application(cloud: Cloud, client_id: str, tenant: Row) -> App:
    """Return the application of a client id in a tenant.

    Raises:
        EntraError: the tenant does not know it, or Microsoft has withdrawn it.

    """
    known = WELL_KNOWN.get(client_id.lower())
    if known is not None:
        return App(client_id.lower(), tenant["id"], known.name, None, (), (), is_public=True)
    app = cloud.directory.app(client_id)
    if app is not None and app.tenant_id == tenant["id"]:
        return app
    retired = RETIRED.get(client_id.lower())
    if retired is not None:
        raise errors.retired_application(client_id, tenant["domain"], retired)
    raise errors.unknown_application(client_id, tenant["domain"])


def granted_scopes(cloud: Cloud, app: App, resource: str, asked: Sequence[str]) -> list[str]:
    """Return which delegated permissions of a resource a user's token gets; empty if nothing was consented to.

    `asked` has names without the resource; `.default` stands for all that was consented to.
    """
    known, other = WELL_KNOWN.get(app.id), resource_of(resource)
    if known is None:
        consented = list(app.delegated_scopes) if other is None else []
    elif known.asks and other is None:
        return _asked_for(cloud, asked)
    else:
        consented = list(known.scopes.get(other or _GRAPH, ()))
    return consented if ".default" in asked else [name for name in consented if name in asked]


def _asked_for(cloud: Cloud, asked: Sequence[str]) -> list[str]:
    """Return what an administrator has consented to: all that was asked for, as the switch says, or nothing."""
    if cloud.config.switches.well_known_consent == "none":
        return []
    return sorted({"User.Read", *(name for name in asked if name != ".default")})
