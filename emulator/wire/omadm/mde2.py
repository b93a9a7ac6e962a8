"""Windows enrolment (MDE2): discovery, XCEP policies, WSTEP requests and answers. See sources.md#mde2-enrolment.

The token of the signed-in user travels in the header of the SOAP message, the request for a certificate in its body.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element

from pfxlab.emulator.wire.omadm.soap import SoapError, Token, add, add_token, find, read_token, text_of

DISCOVERY_PATH: Final = "/EnrollmentServer/Discovery.svc"
POLICY_PATH: Final = "/EnrollmentServer/Policy.svc"
ENROLLMENT_PATH: Final = "/EnrollmentServer/Enrollment.svc"

_MDM: Final = "http://schemas.microsoft.com/windows/management/2012/01/enrollment"
_XCEP: Final = "http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy"
_WSTEP: Final = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment"
_TRUST: Final = "http://docs.oasis-open.org/ws-sx/ws-trust/200512"
_CONTEXT: Final = "http://schemas.xmlsoap.org/ws/2006/12/authorization"
_CONFIGURATION_MANAGER: Final = "http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/Enrollment"

DISCOVER: Final = f"{_MDM}/IDiscoveryService/Discover"
DISCOVER_RESPONSE: Final = f"{DISCOVER}Response"
GET_POLICIES: Final = f"{_XCEP}/IPolicy/GetPolicies"
GET_POLICIES_RESPONSE: Final = f"{GET_POLICIES}Response"
REQUEST_TOKEN: Final = f"{_WSTEP}/RST/wstep"
REQUEST_TOKEN_RESPONSE: Final = f"{_WSTEP}/RSTRC/wstep"

ISSUE: Final = f"{_TRUST}/Issue"
RENEW: Final = f"{_TRUST}/Renew"
PKCS10: Final = f"{_WSTEP}#PKCS10"
PKCS7: Final = f"{_WSTEP}#PKCS7"
USER_TOKEN: Final = f"{_CONFIGURATION_MANAGER}/DeviceEnrollmentUserToken"
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
_DEVICE_TOKEN: Final = f"{_CONFIGURATION_MANAGER}/DeviceEnrollmentToken"
_PROVISION_DOC: Final = f"{_CONFIGURATION_MANAGER}/DeviceEnrollmentProvisionDoc"
_SHA256_OID: Final = "2.16.840.1.101.3.4.2.1"

MINIMAL_KEY_LENGTH: Final = 2048


@dataclass(frozen=True)
class Discovered:
    """Where enrolment goes on: addresses of the policy and enrolment services, and how a user signs in."""

    policy_url: str
    enrollment_url: str
    auth_policy: str = "Federated"
    authentication_url: str = ""


@dataclass(frozen=True)
class Policy:
    """What a certificate request must satisfy."""

    minimal_key_length: int
    validity_seconds: int
    renewal_seconds: int


@dataclass(frozen=True, repr=False)
class TokenRequest:
    """A request for an identity: `kind` ISSUE or RENEW, `request` PKCS#10 or PKCS#7 in DER, `context` about the PC."""

    kind: str
    value_type: str
    request: bytes
    context: Mapping[str, str] = field(default_factory=dict)


def discover(upn: str, os_version: str) -> Element:
    """Return the body of Discover."""
    body = Element(f"{{{_MDM}}}Discover")
    token_request = add(body, _MDM, "request")
    for name, text in (
        ("EmailAddress", upn), ("OSEdition", "4"), ("RequestVersion", "5.0"), ("DeviceType", "CIMClient_Windows"),
        ("ApplicationVersion", os_version),
    ):  # fmt: skip
        add(token_request, _MDM, name, text)
    policies = add(token_request, _MDM, "AuthPolicies")
    for name in ("OnPremise", "Federated"):
        add(policies, _MDM, "AuthPolicy", name)
    return body


def read_discover(body: Element) -> tuple[str, str]:
    """Return (EmailAddress, RequestVersion) of Discover.

    Raises:
        SoapError: another message.

    """
    return text_of(body, _MDM, "request", "EmailAddress"), text_of(body, _MDM, "request", "RequestVersion")


def discover_response(found: Discovered) -> Element:
    """Return the body of DiscoverResponse."""
    body = Element(f"{{{_MDM}}}DiscoverResponse")
    result = add(body, _MDM, "DiscoverResult")
    for name, text in (
        ("AuthPolicy", found.auth_policy), ("EnrollmentVersion", "5.0"),
        ("EnrollmentPolicyServiceUrl", found.policy_url), ("EnrollmentServiceUrl", found.enrollment_url),
        ("AuthenticationServiceUrl", found.authentication_url),
    ):  # fmt: skip
        add(result, _MDM, name, text)
    return body


def read_discover_response(body: Element) -> Discovered:
    """Return where enrolment goes on.

    Raises:
        SoapError: another message.

    """
    names = ("EnrollmentPolicyServiceUrl", "EnrollmentServiceUrl", "AuthPolicy")
    policy_url, enrollment_url, auth = (text_of(body, _MDM, "DiscoverResult", name) for name in names)
    return Discovered(policy_url, enrollment_url, auth)


def get_policies() -> Element:
    """Return the body of GetPolicies."""
    body = Element(f"{{{_XCEP}}}GetPolicies")
    add(add(body, _XCEP, "client"), _XCEP, "preferredLanguage", "en-US")
    add(body, _XCEP, "requestFilter")
    return body


def get_policies_response(policy: Policy) -> Element:
    """Return the body of GetPoliciesResponse: one policy, SHA-256."""
    body = Element(f"{{{_XCEP}}}GetPoliciesResponse")
    answer = add(body, _XCEP, "response")
    add(answer, _XCEP, "policyFriendlyName", "PFX Lab TEST ONLY")
    add(answer, _XCEP, "policiesNotChanged", "false")
    one = add(add(answer, _XCEP, "policies"), _XCEP, "policy")
    add(one, _XCEP, "policyOIDReference", "0")
    attributes = add(one, _XCEP, "attributes")
    add(attributes, _XCEP, "policySchema", "3")
    validity = add(attributes, _XCEP, "certificateValidity")
    add(validity, _XCEP, "validityPeriodSeconds", str(policy.validity_seconds))
    add(validity, _XCEP, "renewalPeriodSeconds", str(policy.renewal_seconds))
    permission = add(attributes, _XCEP, "permission")
    add(permission, _XCEP, "enroll", "true")
    add(permission, _XCEP, "autoEnroll", "false")
    key = add(attributes, _XCEP, "privateKeyAttributes")
    add(key, _XCEP, "minimalKeyLength", str(policy.minimal_key_length))
    add(attributes, _XCEP, "hashAlgorithmOIDReference", "1")
    oid = add(add(body, _XCEP, "oIDs"), _XCEP, "oID")
    for name, text in (("value", _SHA256_OID), ("group", "1"), ("oIDReferenceID", "1"), ("defaultName", "sha256")):
        add(oid, _XCEP, name, text)
    return body


def read_get_policies_response(body: Element) -> Policy:
    """Return what a request must satisfy.

    Raises:
        SoapError: another message.

    """
    path = ("response", "policies", "policy", "attributes")
    try:
        return Policy(
            int(text_of(body, _XCEP, *path, "privateKeyAttributes", "minimalKeyLength")),
            int(text_of(body, _XCEP, *path, "certificateValidity", "validityPeriodSeconds")),
            int(text_of(body, _XCEP, *path, "certificateValidity", "renewalPeriodSeconds")),
        )
    except ValueError as error:
        raise SoapError(f"expected numbers in the policy, got others ({error})") from None


def request_token(token_request: TokenRequest) -> Element:
    """Return the body of RequestSecurityToken."""
    body = Element(f"{{{_TRUST}}}RequestSecurityToken")
    add(body, _TRUST, "TokenType", _DEVICE_TOKEN)
    add(body, _TRUST, "RequestType", token_request.kind)
    add_token(body, Token(token_request.value_type, base64.b64encode(token_request.request).decode("ascii")))
    context = add(body, _CONTEXT, "AdditionalContext")
    for name, value in token_request.context.items():
        add(add(context, _CONTEXT, "ContextItem", Name=name), _CONTEXT, "Value", value)
    return body


def read_request_token(body: Element) -> TokenRequest:
    """Return a request for an identity.

    Raises:
        SoapError: another message, an unknown RequestType, or a token that is not base64.

    """
    kind, token = text_of(body, _TRUST, "RequestType"), read_token(body)
    if kind not in (ISSUE, RENEW):
        raise SoapError(f"expected RequestType Issue or Renew, got {kind}")
    if token is None:
        raise SoapError("expected a BinarySecurityToken with the certificate request, got none")
    context = find(body, _CONTEXT, "AdditionalContext")
    items = [] if context is None else context.findall(f"{{{_CONTEXT}}}ContextItem")
    facts = {item.get("Name", ""): (item.findtext(f"{{{_CONTEXT}}}Value") or "").strip() for item in items}
    return TokenRequest(kind, token.value_type, _decode(token.text), facts)


def request_token_response(document: bytes) -> Element:
    """Return the body of RequestSecurityTokenResponseCollection around a provisioning document."""
    body = Element(f"{{{_TRUST}}}RequestSecurityTokenResponseCollection")
    one = add(body, _TRUST, "RequestSecurityTokenResponse")
    add(one, _TRUST, "TokenType", _DEVICE_TOKEN)
    add(one, _WSTEP, "DispositionMessage")
    token = Token(_PROVISION_DOC, base64.b64encode(document).decode("ascii"))
    add_token(add(one, _TRUST, "RequestedSecurityToken"), token)
    add(one, _WSTEP, "RequestID", "0")
    return body


def read_request_token_response(body: Element) -> bytes:
    """Return the provisioning document of an answer.

    Raises:
        SoapError: another message, or none in it.

    """
    one = find(body, _TRUST, "RequestSecurityTokenResponse", "RequestedSecurityToken")
    token = None if one is None else read_token(one)
    if token is None or token.value_type != _PROVISION_DOC:
        raise SoapError("expected a provisioning document, got none")
    return _decode(token.text)


def user_token(bearer: str) -> Token:
    """Return the header's token of a signed-in user."""
    return Token(USER_TOKEN, base64.b64encode(bearer.encode("ascii")).decode("ascii"))


def decode_token(token: Token) -> str:
    """Return the bearer token inside a header's token.

    Raises:
        SoapError: not base64 of ASCII.

    """
    try:
        return _decode(token.text).decode("ascii")
    except UnicodeDecodeError:
        raise SoapError("expected an ASCII token, got other bytes") from None


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise SoapError(f"expected base64 in the BinarySecurityToken, got {len(text)} other characters") from None
