"""Graph's error answers: one constructor for each, opaque to the client as Microsoft's are, the true reason beside.

Sources: sources.md#error-shape, sources.md#intune-error-envelope, sources.md#token-refusals, sources.md#routing-errors,
sources.md#model-validation, sources.md#http-statuses.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pfxlab.emulator.wire.text import quoted

PFX_SERVICE: Final = "RACerts/StatelessImportPFXService/c3cbb42e-ffff-0609-0254-021917475559"
CONFIGURATION_SERVICE: Final = "DeviceConfiguration_2311/StatelessDeviceConfigurationFEService"
DEVICE_SERVICE: Final = "DeviceFE/StatelessDeviceFEService"
REASON: Final = "x-pfxlab-reason"
TIP: Final = "x-pfxlab-tip"
"""The header in which a lab that explains tells clients the true reason of a refusal."""
_ZERO_GUID: Final = "00000000-0000-0000-0000-000000000000"
_WWW_AUTHENTICATE: Final = (
    'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", '
    'client_id="00000003-0000-0000-c000-000000000000"'
)


_WORDS: Final = {
    400: ("BadRequest", "An error has occurred"),
    401: ("InvalidAuthenticationToken", "Access token validation failure."),
    403: ("Forbidden", "Forbidden"),
    404: ("ResourceNotFound", "An error has occurred"),
    408: ("RequestTimeout", "The request timed out."),
    409: ("Conflict", "An error has occurred"),
    412: ("PreconditionFailed", "An error has occurred"),
    429: ("TooManyRequests", "An error has occurred"),
    500: ("InternalServerError", "An internal server error has occurred"),
    502: ("UnknownError", ""),
    503: ("ServiceUnavailable", "The service is temporarily unavailable."),
    504: ("GatewayTimeout", "The server did not answer in time."),
}
"""Status → code and text, for what a fault asks for (sources.md#intune-error-envelope)."""


@dataclass
class GraphError(Exception):
    """A refusal. `service` set: the text goes into the Intune envelope inside error.message.

    `rule` is the stable code of the true reason, `reason` says expected and got; neither reaches the client.
    """

    status: int
    code: str
    text: str
    reason: str
    service: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    inner: dict[str, str] = field(default_factory=dict)
    rule: str = "Other"


@dataclass(frozen=True)
class ErrorPlace:
    """Where an error happened: ids and time of the request, and its path and query behind the gateway."""

    request_id: str
    client_request_id: str
    now: datetime
    path: str
    version: str


def body(error: GraphError, place: ErrorPlace) -> dict[str, Any]:
    """Return the JSON body of an error."""
    message = error.text if error.service is None else _envelope(error.text, error.service, place)
    inner = {
        **error.inner,
        "date": place.now.strftime("%Y-%m-%dT%H:%M:%S"),
        "request-id": place.request_id,
        "client-request-id": place.client_request_id,
    }
    return {"error": {"code": error.code, "message": message, "innerError": inner}}


def _envelope(text: str, service: str, place: ErrorPlace) -> str:
    api_version = "5021-04-09" if place.version == "beta" else "2021-04-09"
    url = f"https://fef.msub06.manage.microsoft.com/{service}/{place.path}?api-version={api_version}"
    message = (
        f"{text} - Operation ID (for customer support): {_ZERO_GUID}"
        f" - Activity ID: {place.client_request_id} - Url: {url}"
    )
    envelope = {
        "_version": 3,
        "Message": message,
        "CustomApiErrorPhrase": "",
        "RetryAfter": None,
        "ErrorSourceService": "",
        "HttpHeaders": "{}",
    }
    return json.dumps(envelope, indent=2).replace("\n", "\r\n")


def intune_bad_request(service: str, reason: str, rule: str) -> GraphError:
    """400 of the Intune service, which never says why."""
    return GraphError(400, "BadRequest", "An error has occurred", reason, service, rule=rule)


def intune_not_found(service: str, reason: str) -> GraphError:
    """404 of the Intune service."""
    return GraphError(404, "ResourceNotFound", "An error has occurred", reason, service, rule="EntityUnknown")


def internal(reason: str, service: str | None = None) -> GraphError:
    """500: an unexpected error, or the behaviour that a switch selects."""
    text, rule = "An internal server error has occurred", "Defect" if service is None else "Quirk"
    return GraphError(500, "InternalServerError", text, reason, service, rule=rule)


def storage_full() -> GraphError:
    """507: what the request wants to write has no room; nothing of it is kept."""
    text = "There is not enough storage to complete the operation."
    reason = "the lab's disk or database is full: make room in its data folder"
    return GraphError(507, "InsufficientStorage", text, reason, rule="StorageFull")


def too_large(reason: str) -> GraphError:
    """413: the body is larger than the lab takes."""
    text = "The request body is too large."
    return GraphError(413, "RequestEntityTooLarge", text, reason, rule="BodyTooLarge")


def of_problem(status: int, rule: str, reason: str) -> GraphError:
    """What the gateway finds wrong before a resource is asked, or after it has failed; `rule`: the stable code."""
    made = {413: too_large, 500: internal}.get(status)
    if made is not None:
        return made(reason)
    if status == 507:
        return storage_full()
    code, text = _WORDS[status]
    return GraphError(status, code, text, reason, rule=rule)


def intune_conflict(service: str, reason: str) -> GraphError:
    """409 of the Intune service; never observed, offered by a switch."""
    return GraphError(409, "Conflict", "An error has occurred", reason, service, rule="Duplicate")


def model_validation(text: str, reason: str | None = None, rule: str = "ValueInvalid") -> GraphError:
    """400 of the OData model behind Graph; the inner error repeats the message."""
    return GraphError(400, "ModelValidationFailure", text, reason or text, inner={"message": text}, rule=rule)


def unknown_property(name: str, type_name: str) -> GraphError:
    """400 for a property the type does not have."""
    service_type = f"microsoft.management.services.api.{type_name}"
    return model_validation(
        f"The property '{name}' does not exist on type '{service_type}'. "
        "Make sure to only use property names that are defined by the type.",
        rule="PropertyUnknown",
    )


def bad_literal(literal: str, edm_type: str, reason: str) -> GraphError:
    """400 for a value that is not of the property's type."""
    return model_validation(f"Cannot convert the literal '{literal}' to the expected type '{edm_type}'.", reason)


def out_of_range(reason: str) -> GraphError:
    """400 for a number that the service's model converts and its checks refuse (sources.md#profile-ranges)."""
    return model_validation("Exception has been thrown by the target of an invocation.", reason)


def unknown_type(name: str) -> GraphError:
    """400 for an @odata.type the model does not know."""
    return model_validation(
        f"A type named '{name}' could not be resolved by the model. "
        "When a model is available, each type name must resolve to a valid type.",
        f"expected a type of the model, in its own case, got {quoted(name)}",
        "TypeUnknown",
    )


def not_assignable(name: str, expected: str) -> GraphError:
    """400 for an @odata.type that the model knows and that does not derive from the expected type."""
    service = "microsoft.management.services.api"
    return model_validation(
        f"An entry with type '{service}.{name}' was found, but it is not assignable to the expected type "
        f"'{service}.{expected}'. The type specified in the entry must be equal to either the expected type or a "
        "derived type.",
        rule="TypeUnknown",
    )


def abstract_class() -> GraphError:
    """400 for a polymorphic body without @odata.type."""
    return model_validation(
        "Cannot create an abstract class.", "expected @odata.type in the body, got none", "TypeUnknown"
    )


def unreadable_payload(reason: str) -> GraphError:
    """400 of the gateway for a body that is not JSON, or not announced as JSON."""
    text = (
        "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid "
        "JSON format."
    )
    return GraphError(400, "BadRequest", text, reason, rule="BodyUnreadable")


def empty_payload() -> GraphError:
    """400 of the gateway for a missing body."""
    text = "Empty Payload. JSON content expected."
    return GraphError(400, "BadRequest", text, "expected a body, got 0 bytes", rule="BodyUnreadable")


def schema_mismatch(name: str, reason: str) -> GraphError:
    """400 of the gateway for a JSON type other than the public schema's."""
    text = f"Property {name} in payload has a value that does not match schema."
    return GraphError(400, "BadRequest", text, reason, rule="ValueInvalid")


def unknown_segment(segment: str) -> GraphError:
    """400, not 404, for a path Graph's model does not have."""
    text = f"Resource not found for the segment '{segment}'."
    reason = f"Microsoft Graph has no path with the segment {quoted(segment)} there, in this version"
    return GraphError(400, "BadRequest", text, reason, rule="SegmentUnknown")


def not_emulated(route: str, where: str) -> GraphError:
    """501, the lab's own: Graph has the route, and the lab has it not. The header says so in any lab."""
    reason = f"Microsoft Graph has this route, the lab has it {where}: {quoted(route)}"
    shown = "".join(c if " " <= c <= "~" else "?" for c in f"RouteNotEmulated: {reason}")
    text = "The lab does not emulate this route of Microsoft Graph."
    return GraphError(501, "NotImplemented", text, reason, headers={REASON: shown[:1000]}, rule="RouteNotEmulated")


def invalid_version(segment: str) -> GraphError:
    """404 for a path that does not begin with /beta or /v1.0."""
    text = f"Invalid version: {segment.lower()}"
    reason = f"expected /beta or /v1.0 first, got {quoted(segment)}"
    return GraphError(404, "ResourceNotFound", text, reason, rule="VersionMissing")


def method_not_allowed(method: str) -> GraphError:
    """405 for a method the resource does not have."""
    text = "Specified HTTP method is not allowed for the request target."
    return GraphError(405, "Request_BadRequest", text, f"the resource has no {method}", rule="MethodUnknown")


def put_refused(service: str) -> GraphError:
    """400 for PUT on an Intune entity."""
    return intune_bad_request(service, "PUT is not supported, use PATCH", "MethodUnknown")


def unauthenticated(text: str, reason: str, rule: str = "TokenUnusable", claims: str = "") -> GraphError:
    """401 for a missing or unusable token; with a claims challenge when there are `claims`, in base64."""
    challenge = f', error="insufficient_claims", claims="{claims}"' if claims else ""
    headers = {"WWW-Authenticate": f"{_WWW_AUTHENTICATE}{challenge}"}
    return GraphError(401, "InvalidAuthenticationToken", text, reason, headers=headers, rule=rule)


def intune_forbidden(service: str, scopes: Iterable[str], held: Iterable[str]) -> GraphError:
    """403 of the Intune service, naming the scopes that would do."""
    wanted = ", ".join(scopes)
    text = (
        "Application is not authorized to perform this operation. "
        f"Application must have one of the following scopes: {wanted}"
    )
    reason = f"expected one of {wanted}, the token holds {', '.join(sorted(held)) or 'none'}"
    return GraphError(403, "Forbidden", text, reason, service, rule="ScopeMissing")


def user_forbidden(service: str, reason: str) -> GraphError:
    """403 of the Intune service for a signed-in user without an Intune role."""
    text = "User is not authorized to perform this operation"
    return GraphError(403, "Forbidden", text, reason, service, rule="RoleMissing")


def directory_forbidden(scopes: Iterable[str], held: Iterable[str]) -> GraphError:
    """403 of the directory."""
    reason = f"expected one of {', '.join(scopes)}, the token holds {', '.join(sorted(held)) or 'none'}"
    text = "Insufficient privileges to complete the operation."
    return GraphError(403, "Authorization_RequestDenied", text, reason, rule="ScopeMissing")


def directory_not_found(name: str) -> GraphError:
    """404 of the directory."""
    text = f"Resource '{name}' does not exist or one of its queried reference-property objects are not present."
    reason = f"no directory object {quoted(name)} in this tenant"
    return GraphError(404, "Request_ResourceNotFound", text, reason, rule="EntityUnknown")


def directory_unknown(name: str) -> GraphError:
    """400 of the directory for a property the type does not have."""
    text = f"Invalid property '{name}'."
    return GraphError(400, "Request_BadRequest", text, text, rule="PropertyUnknown")


def directory_missing(name: str, resource: str) -> GraphError:
    """400 of the directory for a property that is needed."""
    text = f"A value is required for property '{name}' of resource '{resource[:1].upper()}{resource[1:]}'."
    return GraphError(400, "Request_BadRequest", text, text, rule="PropertyMissing")


def directory_invalid(name: str, reason: str) -> GraphError:
    """400 of the directory for a value that cannot be."""
    text = f"Invalid value specified for property '{name}' of resource."
    return GraphError(400, "Request_BadRequest", text, reason, rule="ValueInvalid")


def read_only(name: str) -> GraphError:
    """400 of the directory for a property that nobody sets over Graph."""
    text = f"Property '{name}' is read-only and cannot be set."
    return GraphError(400, "Request_BadRequest", text, text, rule="ValueInvalid")


def directory_taken(text: str) -> GraphError:
    """400 for an object that exists already."""
    return GraphError(400, "Request_BadRequest", text, text, rule="Duplicate")


def directory_conflict(reason: str) -> GraphError:
    """409 for a second object where one can be."""
    text = "The object already exists: it conflicts with another object."
    return GraphError(409, "Request_MultipleObjectsWithSameKeyValue", text, reason, rule="Duplicate")


def not_a_user() -> GraphError:
    """400 for /me with an application's token."""
    text = "/me request is only valid with delegated authentication flow."
    return GraphError(400, "BadRequest", text, "expected a user's token, got an application's", rule="RoleMissing")


def count_unsupported() -> GraphError:
    """400 for /$count on directory objects."""
    text = "$count is not currently supported."
    return GraphError(
        400,
        "Request_BadRequest",
        text,
        "directory objects count only with ConsistencyLevel: eventual",
        rule="OptionInvalid",
    )


def already_member() -> GraphError:
    """400 for adding a member twice."""
    text = "One or more added object references already exist for the following modified properties: 'members'."
    return GraphError(400, "Request_BadRequest", text, text, rule="Duplicate")


def dynamic_members() -> GraphError:
    """400 for a member that is added to a group whose members follow from a rule, or removed from it."""
    text = "Insufficient privileges to complete the operation: the group has dynamic membership."
    return GraphError(400, "Request_BadRequest", text, "a rule decides the members of the group", rule="ValueInvalid")


def invalid_filter(text: str, reason: str | None = None) -> GraphError:
    """400 for a $filter that does not parse."""
    return GraphError(400, "BadRequest", f"Invalid filter clause: {text}", reason or text, rule="FilterInvalid")


def search_needs_header() -> GraphError:
    """400 for $search on directory objects without ConsistencyLevel."""
    text = (
        "Request with $search query parameter only works through MSGraph with a special request header: "
        "'ConsistencyLevel: eventual'"
    )
    return GraphError(400, "Request_UnsupportedQuery", text, text, rule="OptionInvalid")


def foreign_domain(reason: str) -> GraphError:
    """400 for a user under a domain that is not the tenant's."""
    text = (
        "The domain portion of the userPrincipalName property is invalid. You must use one of the verified domain "
        "names in your organization."
    )
    return GraphError(400, "Request_BadRequest", text, reason, rule="ValueInvalid")


def unsupported_filter(name: str, resource: str) -> GraphError:
    """400 for a $filter on a property that cannot be filtered."""
    text = f"Unsupported or invalid query filter clause specified for property '{name}' of resource '{resource}'."
    return GraphError(400, "Request_UnsupportedQuery", text, text, rule="FilterInvalid")


def invalid_option(name: str, reason: str) -> GraphError:
    """400 for a query option with a value that cannot be."""
    return GraphError(400, "BadRequest", f"Invalid value for query option '{name}'.", reason, rule="OptionInvalid")


def expand_unsupported(name: str) -> GraphError:
    """400 for an $expand the resource does not have."""
    text = f"Expand is not allowed for property '{name}' according to the entity schema."
    return GraphError(400, "ExpandNotSupported", text, text, rule="OptionInvalid")


def precondition_failed(reason: str) -> GraphError:
    """412 for an If-Match that names another state of the entity."""
    text = "The condition specified in the If-Match header is not met."
    return GraphError(412, "PreconditionFailed", text, reason, rule="Changed")


def no_route(method: str, template: str, address: str, reason: str, rule: str = "SegmentUnknown") -> GraphError:
    """400 of the Intune service for a path that Graph's model has and Intune has no handler for.

    `template`: the shape of the path, `~/…`; `address`: service and path.
    """
    text = f"No OData route exists that match template {template} with http verb {method} for request /{address}."
    return GraphError(400, "No method match route template", text, reason, rule=rule)


def too_many(service: str | None, headers: dict[str, str], reason: str) -> GraphError:
    """429 of the Intune service, or of Graph when `service` is None."""
    text = "Too many requests." if service is None else "An error has occurred"
    return GraphError(429, "TooManyRequests", text, reason, service, headers=headers, rule="Throttled")


def injected(status: int, service: str | None, headers: dict[str, str], fault: str, came: str) -> GraphError:
    """Any error status that a fault of the lab asks for, with the words Graph has for it."""
    code, text = _WORDS.get(status, ("UnknownError", ""))
    reason = f"injected by {fault}, {came}"
    return GraphError(status, code, text, reason, service, headers=headers, rule="FaultInjected")


def url_too_long(length: int, longest: int) -> GraphError:
    """400 for an address that is longer than the server reads, as on a request line."""
    text = f"expected an address of at most {longest} characters, got {length}"
    return GraphError(400, "BadRequest", f"The request address is too long: {text}.", text, rule="AddressTooLong")


def batch_without_body(name: str) -> GraphError:
    """400 for a batch with a POST, PATCH or PUT that lacks body or Content-Type (sources.md#batch-writes)."""
    text = f"Write request id : {name} does not contain Content-Type header or body."
    return GraphError(400, "BadRequest", text, text, rule="BatchInvalid")


def batch_too_long(reason: str) -> GraphError:
    """400 for a batch of more requests than twenty, in the words of newer reports (sources.md#batch-limit-text)."""
    return GraphError(
        400, "BadRequest", "Number of requests inside batch exceeds the limit", reason, rule="BatchInvalid"
    )


def bad_batch(reason: str) -> GraphError:
    """400 for a batch that is refused as a whole."""
    return GraphError(400, "BadRequest", "Invalid batch payload format.", reason, rule="BatchInvalid")
