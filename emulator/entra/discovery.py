"""Sign-in documents: OpenID configuration, instance discovery, user realm.

Source: sources.md#authority-documents.
"""

from typing import Any


def openid_configuration(origin: str, segment: str, tenant_id: str) -> dict[str, Any]:
    """Return a tenant's OIDC document; endpoints keep the tenant segment the client asked with."""
    base = f"{origin}/{segment}"
    return {
        "issuer": f"{origin}/{tenant_id}/v2.0",
        "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
        "token_endpoint": f"{base}/oauth2/v2.0/token",
        "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
        "end_session_endpoint": f"{base}/oauth2/v2.0/logout",
        "jwks_uri": f"{base}/discovery/v2.0/keys",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "response_types_supported": ["code", "id_token", "code id_token"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "tenant_region_scope": None,
        "cloud_instance_name": "microsoftonline.com",
        "cloud_graph_host_name": "graph.windows.net",
        "msgraph_host": "graph.microsoft.com",
    }


def instance_discovery(origin: str, tenant_id: str) -> dict[str, Any]:
    """Return the answer that makes a client accept this host as an authority."""
    host = origin.removeprefix("https://")
    return {
        "tenant_discovery_endpoint": f"{origin}/{tenant_id}/v2.0/.well-known/openid-configuration",
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    }


def user_realm(upn: str) -> dict[str, str]:
    """Return the realm of a user: always managed, so that clients post the password to the token endpoint."""
    return {
        "ver": "1.0",
        "account_type": "Managed",
        "domain_name": upn.rpartition("@")[2],
        "cloud_instance_name": "microsoftonline.com",
        "cloud_audience_urn": "urn:federation:MicrosoftOnline",
    }
