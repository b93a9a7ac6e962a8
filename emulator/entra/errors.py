"""Sign-in refusals: one constructor for each AADSTS code. Source: sources.md#sign-in-errors."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from pfxlab.emulator.wire.text import quoted, shown


@dataclass
class EntraError(Exception):
    """A refusal of the token endpoint: `error` and `number` go to the client, the rest to the journal.

    `reason` is the true one, `rule` its stable code, `upn` the user it concerns.
    """

    status: int
    error: str
    number: int
    text: str
    reason: str
    suberror: str | None = None
    rule: str = ""
    upn: str = ""

    def body(self, now: datetime, trace_id: str, correlation_id: str) -> dict[str, Any]:
        """Return the JSON body Entra ID sends."""
        stamp = now.strftime("%Y-%m-%d %H:%M:%SZ")
        ids = f"Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {stamp}"
        extra = {} if self.suberror is None else {"suberror": self.suberror}
        return {
            "error": self.error,
            "error_description": f"AADSTS{self.number}: {self.text} {ids}",
            "error_codes": [self.number],
            "timestamp": stamp,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": f"https://login.microsoftonline.com/error?code={self.number}",
            **extra,
        }


def invalid_input(reason: str, status: int = 400) -> EntraError:
    """Refuse a request that cannot be read."""
    return EntraError(status, "invalid_request", 90013, "Invalid input received from the user.", reason)


def unavailable(reason: str, status: int) -> EntraError:
    """Report that the service itself has failed."""
    error = "server_error" if status == 500 else "temporarily_unavailable"
    return EntraError(status, error, 50000, "There was an error issuing a token.", reason)


def unknown_tenant(tenant: str) -> EntraError:
    """Refuse a tenant that does not exist."""
    text = f"Tenant '{shown(tenant)}' not found. Check to make sure you have the correct tenant ID."
    return EntraError(400, "invalid_tenant", 90002, text, f"expected a tenant of this lab, got {quoted(tenant)}")


def no_tenant(segment: str) -> EntraError:
    """Refuse an application that signs in for itself and does not say where."""
    text = "No tenant-identifying information found in either the request or implied by any provided credentials."
    reason = f"expected a tenant's id or domain in the address, got {quoted(segment)}: an application has no home there"
    return EntraError(400, "invalid_request", 50059, text, reason, rule="TenantMissing")


def unknown_instance(address: str) -> EntraError:
    """Refuse an authority that is neither Microsoft's nor this lab's."""
    reason = f"expected a sign-in host of Microsoft's or this lab's, got {quoted(address)}"
    return EntraError(400, "invalid_instance", 50049, "Unknown or invalid instance.", reason, rule="InstanceUnknown")


def retired_application(client_id: str, tenant: str, name: str) -> EntraError:
    """Refuse a client id of Microsoft's own that was withdrawn."""
    refused = unknown_application(client_id, tenant)
    reason = f"Microsoft has withdrawn {name}, the application of this client id"
    return replace(refused, reason=reason, rule="ApplicationRetired")


def unknown_application(client_id: str, tenant: str) -> EntraError:
    """Refuse a client id that is not registered in the tenant."""
    text = f"Application with identifier '{shown(client_id)}' was not found in the directory '{tenant}'."
    reason = f"expected an application registered in this lab, got {quoted(client_id)}"
    return EntraError(400, "unauthorized_client", 700016, text, reason)


def wrong_secret(client_id: str) -> EntraError:
    """Refuse a client secret."""
    text = f"Invalid client secret provided for app '{client_id}'."
    return EntraError(401, "invalid_client", 7000215, text, "the client secret is not this application's")


def expired_secret(client_id: str) -> EntraError:
    """Refuse a client secret that was right once."""
    text = f"The provided client secret keys for app '{client_id}' are expired."
    return EntraError(401, "invalid_client", 7000222, text, "the client secret has expired, add another")


def no_principal(client_id: str, tenant: str) -> EntraError:
    """Refuse an application that is registered but has no service principal in the tenant."""
    text = f"The client application {client_id} is missing service principal in the tenant {tenant}."
    return EntraError(401, "unauthorized_client", 7000229, text, "create it: POST /servicePrincipals with the appId")


def disabled_user(upn: str) -> EntraError:
    """Refuse a user whose account is disabled."""
    text = "The user account is disabled."
    reason = f"accountEnabled of {quoted(upn)} is false"
    return EntraError(400, "invalid_grant", 50057, text, reason, rule="UserBlocked", upn=upn)


def expired_password(upn: str) -> EntraError:
    """Refuse a password that was right once."""
    reason, suberror = f"the password of {quoted(upn)} has expired", "user_password_expired"
    text = "The password is expired."
    return EntraError(400, "invalid_grant", 50055, text, reason, suberror, rule="PasswordExpired", upn=upn)


SECOND_FACTOR_REQUIRED: Final = 50076
_BLOCKED_BY_POLICY: Final = 53003


def second_factor_required(upn: str, resource: str) -> EntraError:
    """Refuse a user who must show a second factor, which a password alone cannot."""
    text = (
        "Due to a configuration change made by your administrator, or because you moved to a new location, you must use"
        f" multi-factor authentication to access '{shown(resource)}'."
    )
    reason = f"{quoted(upn)} must show a second factor, got a sign-in without one"
    number = SECOND_FACTOR_REQUIRED
    return EntraError(400, "invalid_grant", number, text, reason, "basic_action", rule="SecondFactorRequired", upn=upn)


def blocked_by_policy(upn: str) -> EntraError:
    """Refuse a user to whom a Conditional Access policy gives no token."""
    text = "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance."
    reason = f"a Conditional Access policy blocks {quoted(upn)}"
    number = _BLOCKED_BY_POLICY
    return EntraError(400, "invalid_grant", number, text, reason, "message_only", rule="BlockedByPolicy", upn=upn)


def as_interaction_required(error: EntraError) -> EntraError:
    """Return a refusal as version 1 and the on-behalf-of grant name it, where a person has to do something."""
    wanted = error.number in (SECOND_FACTOR_REQUIRED, _BLOCKED_BY_POLICY)
    return replace(error, error="interaction_required") if wanted else error


def missing_secret() -> EntraError:
    """Refuse a confidential client that sent neither secret nor assertion."""
    text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
    return EntraError(401, "invalid_client", 7000218, text, "expected client_secret, got none")


def missing_parameter(name: str) -> EntraError:
    """Refuse a request without a parameter the grant needs."""
    text = f"The request body must contain the following parameter: '{name}'."
    return EntraError(400, "invalid_request", 900144, text, f"expected the parameter {name}, got none")


def unsupported_grant(grant_type: str) -> EntraError:
    """Refuse a grant type that is not served."""
    text = "The app requested an unsupported grant type."
    return EntraError(400, "unsupported_grant_type", 70003, text, f"got grant_type {quoted(grant_type)}")


def wrong_password(upn: str) -> EntraError:
    """Refuse user name or password, without telling which."""
    text = "Error validating credentials due to invalid username or password."
    return EntraError(400, "invalid_grant", 50126, text, f"no user {quoted(upn)} with that password in this tenant")


def bad_assertion(reason: str) -> EntraError:
    """Refuse a client assertion."""
    text = "Client assertion failed signature validation."
    return EntraError(401, "invalid_client", 700027, text, reason, rule="AssertionInvalid")


def authorization_pending() -> EntraError:
    """Nobody has approved the device code yet."""
    text = "OAuth 2.0 device flow error. Authorization is pending. Continue polling."
    return EntraError(400, "authorization_pending", 70016, text, "the user has not approved the code yet")


def expired_device_code() -> EntraError:
    """The device code is older than its lifetime."""
    text = "The provided value for the 'device_code' is not valid. The device code has expired."
    return EntraError(400, "expired_token", 70020, text, "the device code has expired")


def bad_verification_code() -> EntraError:
    """The device code is none of ours, or was used."""
    text = "Error in verifying the code."
    return EntraError(400, "bad_verification_code", 70019, text, "no such device code, or it was redeemed")


def bad_code(reason: str) -> EntraError:
    """Refuse an authorization code."""
    text = "The provided authorization code or refresh token is invalid, expired or was already redeemed."
    return EntraError(400, "invalid_grant", 70008, text, reason)


def bad_verifier() -> EntraError:
    """The PKCE verifier does not fit the challenge."""
    text = "The Code_Verifier does not match the code_challenge supplied in the authorization request."
    return EntraError(400, "invalid_grant", 501481, text, "expected the verifier of the code's S256 challenge")


def consent_required(app_name: str, scopes: str) -> EntraError:
    """The application was not consented to what it asks for."""
    text = f"The user or administrator has not consented to use the application '{app_name}'."
    return EntraError(400, "invalid_grant", 65001, text, f"no consent for {shown(scopes)}", "consent_required")


def bad_user_assertion(reason: str) -> EntraError:
    """Refuse the user token of an on-behalf-of request."""
    text = "Assertion failed signature validation."
    return EntraError(400, "invalid_grant", 50013, text, reason)


def bad_redirect(uri: str) -> EntraError:
    """Refuse a redirect address that is not on this machine."""
    text = (
        f"The redirect URI '{shown(uri)}' specified in the request does not match the redirect URIs of the application."
    )
    return EntraError(400, "invalid_request", 50011, text, "expected an address of this machine as redirect_uri")


def invalid_scope(scope: str) -> EntraError:
    """Refuse a scope of the client credentials grant other than one resource's .default."""
    text = (
        f"The provided value for scope {shown(scope)} is not valid. Client credential flows must have a scope value "
        "with /.default suffixed to the resource identifier."
    )
    return EntraError(
        400, "invalid_scope", 1002012, text, f"expected one scope ending in /.default, got {quoted(scope)}"
    )


def unknown_resource(resource: str) -> EntraError:
    """Refuse a resource that is not Graph."""
    text = f"The resource principal named {shown(resource)} was not found in the tenant."
    return EntraError(400, "invalid_resource", 500011, text, f"expected Graph as resource, got {quoted(resource)}")
