"""Graph's error answers: one constructor for each, opaque to the client as Microsoft's are, the true reason beside.

Source: reference graph-intune 1.10 and 5.2 to 5.6.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

PFX_SERVICE: Final = "RACerts/StatelessImportPFXService/c3cbb42e-ffff-0609-0254-021917475559"
CONFIGURATION_SERVICE: Final = "DeviceConfiguration_2311/StatelessDeviceConfigurationFEService"
DEVICE_SERVICE: Final = "DeviceFE/StatelessDeviceFEService"
_ZERO_GUID: Final = "00000000-0000-0000-0000-000000000000"
_WWW_AUTHENTICATE: Final = (
    'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", '
    'client_id="00000003-0000-0000-c000-000000000000"'
)


@dataclass
class GraphError(Exception):
    """A refusal. `service` set: the text goes into the Intune envelope inside error.message."""

    status: int
    code: str
    text: str
    reason: str
    service: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    inner: dict[str, str] = field(default_factory=dict)


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


def intune_bad_request(service: str, reason: str) -> GraphError:
    """400 of the Intune service, which never says why."""
    return GraphError(400, "BadRequest", "An error has occurred", reason, service)


def intune_not_found(service: str, reason: str) -> GraphError:
    """404 of the Intune service."""
    return GraphError(404, "ResourceNotFound", "An error has occurred", reason, service)


def internal(reason: str) -> GraphError:
    """500: something nobody foresaw."""
    return GraphError(500, "InternalServerError", "An internal server error has occurred", reason)


def too_large() -> GraphError:
    """413: the body is larger than the lab takes."""
    text = "The request body is too large."
    return GraphError(413, "RequestEntityTooLarge", text, "expected a body of at most 16 MiB, got more")


def intune_conflict(service: str, reason: str) -> GraphError:
    """409 of the Intune service; never observed, offered by a switch."""
    return GraphError(409, "Conflict", "An error has occurred", reason, service)


def model_validation(text: str, reason: str | None = None) -> GraphError:
    """400 of the OData model behind Graph; the inner error repeats the message."""
    return GraphError(400, "ModelValidationFailure", text, reason or text, inner={"message": text})


def unknown_property(name: str, type_name: str) -> GraphError:
    """400 for a property the type does not have."""
    service_type = f"microsoft.management.services.api.{type_name}"
    return model_validation(
        f"The property '{name}' does not exist on type '{service_type}'. "
        "Make sure to only use property names that are defined by the type."
    )


def bad_literal(literal: str, edm_type: str, reason: str) -> GraphError:
    """400 for a value that is not of the property's type."""
    return model_validation(f"Cannot convert the literal '{literal}' to the expected type '{edm_type}'.", reason)


def unknown_type(name: str) -> GraphError:
    """400 for an @odata.type the model does not know."""
    return model_validation(
        f"A type named '{name}' could not be resolved by the model. "
        "When a model is available, each type name must resolve to a valid type.",
        f"expected one of the imported-PFX profile types, got {name!r}",
    )


def abstract_class() -> GraphError:
    """400 for a polymorphic body without @odata.type."""
    return model_validation("Cannot create an abstract class.", "expected @odata.type in the body, got none")


def unreadable_payload(reason: str) -> GraphError:
    """400 of the gateway for a body that is not JSON, or not announced as JSON."""
    text = (
        "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid "
        "JSON format."
    )
    return GraphError(400, "BadRequest", text, reason)


def empty_payload() -> GraphError:
    """400 of the gateway for a missing body."""
    return GraphError(400, "BadRequest", "Empty Payload. JSON content expected.", "expected a body, got 0 bytes")


def schema_mismatch(name: str, reason: str) -> GraphError:
    """400 of the gateway for a JSON type other than the public schema's."""
    return GraphError(400, "BadRequest", f"Property {name} in payload has a value that does not match schema.", reason)


def unknown_segment(segment: str) -> GraphError:
    """400, not 404, for a path Graph's model does not have."""
    text = f"Resource not found for the segment '{segment}'."
    return GraphError(400, "BadRequest", text, f"the lab serves no path with the segment {segment!r} there")


def invalid_version(segment: str) -> GraphError:
    """404 for a path that does not begin with /beta or /v1.0."""
    text = f"Invalid version: {segment.lower()}"
    return GraphError(404, "ResourceNotFound", text, f"expected /beta or /v1.0 first, got {segment!r}")


def method_not_allowed(method: str) -> GraphError:
    """405 for a method the resource does not have."""
    text = "Specified HTTP method is not allowed for the request target."
    return GraphError(405, "Request_BadRequest", text, f"the resource has no {method}")


def put_refused(service: str) -> GraphError:
    """400 for PUT on an Intune entity."""
    return intune_bad_request(service, "PUT is not supported, use PATCH")


def unauthenticated(text: str, reason: str) -> GraphError:
    """401 for a missing or unusable token."""
    headers = {"WWW-Authenticate": _WWW_AUTHENTICATE}
    return GraphError(401, "InvalidAuthenticationToken", text, reason, headers=headers)


def intune_forbidden(service: str, scopes: Iterable[str], held: Iterable[str]) -> GraphError:
    """403 of the Intune service, naming the scopes that would do."""
    wanted = ", ".join(scopes)
    text = (
        "Application is not authorized to perform this operation. "
        f"Application must have one of the following scopes: {wanted}"
    )
    reason = f"expected one of {wanted}, the token holds {', '.join(sorted(held)) or 'none'}"
    return GraphError(403, "Forbidden", text, reason, service)


def user_forbidden(service: str, reason: str) -> GraphError:
    """403 of the Intune service for a signed-in user without an Intune role."""
    return GraphError(403, "Forbidden", "User is not authorized to perform this operation", reason, service)


def directory_forbidden(scopes: Iterable[str], held: Iterable[str]) -> GraphError:
    """403 of the directory."""
    reason = f"expected one of {', '.join(scopes)}, the token holds {', '.join(sorted(held)) or 'none'}"
    text = "Insufficient privileges to complete the operation."
    return GraphError(403, "Authorization_RequestDenied", text, reason)


def directory_not_found(name: str) -> GraphError:
    """404 of the directory."""
    text = f"Resource '{name}' does not exist or one of its queried reference-property objects are not present."
    return GraphError(404, "Request_ResourceNotFound", text, f"no directory object {name!r} in this tenant")


def count_unsupported() -> GraphError:
    """400 for /$count on directory objects."""
    text = "$count is not currently supported."
    return GraphError(400, "Request_BadRequest", text, "directory objects count only with ConsistencyLevel: eventual")


def invalid_filter(text: str) -> GraphError:
    """400 for a $filter that does not parse."""
    return GraphError(400, "BadRequest", f"Invalid filter clause: {text}", text)


def unsupported_filter(name: str, resource: str) -> GraphError:
    """400 for a $filter on a property that cannot be filtered."""
    text = f"Unsupported or invalid query filter clause specified for property '{name}' of resource '{resource}'."
    return GraphError(400, "Request_UnsupportedQuery", text, text)


def invalid_option(name: str, reason: str) -> GraphError:
    """400 for a query option with a value that cannot be."""
    return GraphError(400, "BadRequest", f"Invalid value for query option '{name}'.", reason)
