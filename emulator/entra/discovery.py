"""Sign-in documents: OpenID configuration, instance discovery, user realm.

Source: sources.md#authority-documents, sources.md#v1-endpoints, sources.md#user-realm.
"""

import re
from typing import Any, Final

from pfxlab.emulator.entra import errors
from pfxlab.emulator.entra.keys import issuer
from pfxlab.emulator.hosts.microsoft import CLOUDS, Service, microsoft_host

_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")


def openid_configuration(origin: str, segment: str, tenant_id: str) -> dict[str, Any]:
    """Return the OIDC document of version 2. `segment`: the tenant in its endpoints, an id or `common` and the like."""
    base = f"{origin}/{segment}"
    return {
        "issuer": f"{origin}/{tenant_id}/v2.0",
        "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
        "token_endpoint": f"{base}/oauth2/v2.0/token",
        "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
        "end_session_endpoint": f"{base}/oauth2/v2.0/logout",
        "jwks_uri": f"{base}/discovery/v2.0/keys",
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        **_COMMON,
    }


def openid_configuration_v1(origin: str, segment: str, tenant_id: str) -> dict[str, Any]:
    """Return the OIDC document of version 1."""
    base = f"{origin}/{segment}"
    return {
        "issuer": issuer(tenant_id),
        "authorization_endpoint": f"{base}/oauth2/authorize",
        "token_endpoint": f"{base}/oauth2/token",
        "device_authorization_endpoint": f"{base}/oauth2/devicecode",
        "end_session_endpoint": f"{base}/oauth2/logout",
        "jwks_uri": f"{base}/discovery/keys",
        "scopes_supported": ["openid"],
        "microsoft_multi_refresh_token": True,
        **_COMMON,
    }


_COMMON: Final[dict[str, Any]] = {
    "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
    "response_types_supported": ["code", "id_token", "code id_token"],
    "response_modes_supported": ["query", "fragment", "form_post"],
    "subject_types_supported": ["pairwise"],
    "id_token_signing_alg_values_supported": ["RS256"],
    "tenant_region_scope": None,
    "cloud_instance_name": "microsoftonline.com",
    "cloud_graph_host_name": "graph.windows.net",
    "msgraph_host": "graph.microsoft.com",
}


def instance_discovery(origin: str, authority: str, tenant_id: str) -> dict[str, Any]:
    """Return which hosts are one and the same authority: those of Microsoft's clouds, and this lab.

    `authority`: an address of the authority that the client wants to trust, empty for the one that was asked.

    Raises:
        EntraError: the authority is neither Microsoft's nor this lab's.

    """
    asked = origin.removeprefix("https://")
    place, _, path = authority.removeprefix("https://").partition("/") if authority else (asked, "", "")
    name = _without_port(place)
    known = microsoft_host(name)
    if name not in _LOOPBACK and place != asked and (known is None or known.service is not Service.LOGIN):
        raise errors.unknown_instance(authority)
    segment = path.partition("/")[0] or tenant_id
    own = [host for host in dict.fromkeys((place, asked)) if microsoft_host(_without_port(host)) is None]
    return {
        "tenant_discovery_endpoint": f"https://{place}/{segment}/v2.0/.well-known/openid-configuration",
        "api-version": "1.1",
        "metadata": [_metadata(host, host, [host]) for host in own] + _MICROSOFT,
    }


def _without_port(host: str) -> str:
    return re.sub(r":\d+\Z", "", host).lower()


def _metadata(network: str, cache: str, aliases: list[str]) -> dict[str, Any]:
    return {"preferred_network": network, "preferred_cache": cache, "aliases": aliases}


_PREFERRED_CACHE: Final = {"login.microsoftonline.com": "login.windows.net"}
_MICROSOFT: Final = [
    _metadata(cloud.login[0], _PREFERRED_CACHE.get(cloud.login[0], cloud.login[0]), list(cloud.login))
    for cloud in CLOUDS
]


def user_realm(upn: str, version: str, *, managed: bool) -> dict[str, Any]:
    """Return the realm of a user: managed, so that clients post the password to the token endpoint, or unknown.

    `version`: the `api-version` that was asked for. Nobody is federated here.
    """
    domain = upn.rpartition("@")[2]
    common = {"cloud_instance_name": "microsoftonline.com", "cloud_audience_urn": "urn:federation:MicrosoftOnline"}
    kind = "Managed" if managed else "Unknown"
    if version.startswith("2"):
        named = {"DomainName": domain, "FederationBrandName": domain} if managed else {}
        return {"NameSpaceType": kind, "Login": upn, **named, "TenantBrandingInfo": None, **common}
    named = {"domain_name": domain} if managed else {}
    return {"ver": "1.0", "account_type": kind, **named, **common}
