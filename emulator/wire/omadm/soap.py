"""SOAP 1.2 envelopes as Windows enrolment uses them: action, message id, security token, body, fault.

Sources: sources.md#mde2-enrolment, sources.md#soap-envelopes.
"""

from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, SubElement, register_namespace, tostring

from defusedxml.ElementTree import fromstring

from pfxlab.emulator.wire.xml import NOT_XML, bounded

CONTENT_TYPE: Final = "application/soap+xml; charset=utf-8"
ENVELOPE: Final = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING: Final = "http://www.w3.org/2005/08/addressing"
SECURITY: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
BASE64: Final = f"{SECURITY}#base64binary"
_FAULT_ACTION: Final = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment/rstr/wstep"
_ERROR: Final = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment"
_ANONYMOUS: Final = f"{ADDRESSING}/anonymous"

for _prefix, _uri in (("s", ENVELOPE), ("a", ADDRESSING), ("wsse", SECURITY)):
    register_namespace(_prefix, _uri)


class SoapError(ValueError):
    """The bytes are not the SOAP message the protocol asks for."""


@dataclass(frozen=True, repr=False)
class Token:
    """A BinarySecurityToken: the URI of its type, and its text, base64."""

    value_type: str
    text: str


@dataclass(frozen=True)
class Request:
    """A parsed request: what is asked (`action`), its message id, the token of its header, and the body's element."""

    action: str
    message_id: str
    token: Token | None
    body: Element


@dataclass(frozen=True)
class Fault:
    """A fault: SOAP subcode such as `Authentication`, the error type and sentence of its detail."""

    subcode: str
    error_type: str
    message: str


def add(parent: Element, namespace: str, name: str, text: str | None = None, **attributes: str) -> Element:
    """Append an element in a namespace and return it."""
    child = SubElement(parent, f"{{{namespace}}}{name}", attributes)
    child.text = text
    return child


def add_token(parent: Element, token: Token) -> Element:
    """Append a BinarySecurityToken."""
    return add(
        parent, SECURITY, "BinarySecurityToken", token.text, ValueType=token.value_type, EncodingType=BASE64
    )  # fmt: skip


def request(action: str, message_id: str, to: str, body: Element, token: Token | None = None) -> bytes:
    """Return a request as XML."""
    root = Element(f"{{{ENVELOPE}}}Envelope")
    header = add(root, ENVELOPE, "Header")
    must = {f"{{{ENVELOPE}}}mustUnderstand": "1"}
    add(header, ADDRESSING, "Action", action, **must)
    add(header, ADDRESSING, "MessageID", message_id)
    add(add(header, ADDRESSING, "ReplyTo"), ADDRESSING, "Address", _ANONYMOUS)
    add(header, ADDRESSING, "To", to, **must)
    if token is not None:
        add_token(add(header, SECURITY, "Security", **must), token)
    add(root, ENVELOPE, "Body").append(body)
    return bytes(tostring(root, "utf-8", xml_declaration=True))


def response(action: str, relates_to: str, body: Element) -> bytes:
    """Return an answer as XML."""
    root = Element(f"{{{ENVELOPE}}}Envelope")
    header = add(root, ENVELOPE, "Header")
    add(header, ADDRESSING, "Action", action, **{f"{{{ENVELOPE}}}mustUnderstand": "1"})
    add(header, ADDRESSING, "RelatesTo", relates_to)
    add(root, ENVELOPE, "Body").append(body)
    return bytes(tostring(root, "utf-8", xml_declaration=True))


def fault(relates_to: str, error: Fault, trace_id: str) -> bytes:
    """Return a fault as XML, with the DeviceEnrollmentServiceError that Windows shows."""
    body = Element(f"{{{ENVELOPE}}}Fault")
    code = add(body, ENVELOPE, "Code")
    add(code, ENVELOPE, "Value", "s:Receiver")
    add(add(code, ENVELOPE, "Subcode"), ENVELOPE, "Value", f"s:{error.subcode}")
    text = add(add(body, ENVELOPE, "Reason"), ENVELOPE, "Text", error.message)
    text.set("{http://www.w3.org/XML/1998/namespace}lang", "en-us")
    detail = add(add(body, ENVELOPE, "Detail"), _ERROR, "DeviceEnrollmentServiceError")
    add(detail, _ERROR, "ErrorType", error.error_type)
    add(detail, _ERROR, "Message", error.message)
    add(detail, _ERROR, "TraceId", trace_id)
    return response(_FAULT_ACTION, relates_to, body)


def _root(data: bytes) -> Element:
    try:
        root = fromstring(bounded(data))
    except NOT_XML as error:
        raise SoapError(f"expected a SOAP envelope, got {len(data)} bytes that are not ({error})") from None
    if root.tag != f"{{{ENVELOPE}}}Envelope":
        raise SoapError(f"expected a SOAP 1.2 envelope, got {root.tag}")
    return root


def find(parent: Element, namespace: str, *path: str) -> Element | None:
    """Return the element at a path of names of one namespace, or None."""
    return parent.find("/".join(f"{{{namespace}}}{name}" for name in path))


def text_of(parent: Element, namespace: str, *path: str) -> str:
    """Return the stripped text at a path.

    Raises:
        SoapError: no such element, or an empty one.

    """
    found = find(parent, namespace, *path)
    text = "" if found is None else (found.text or "").strip()
    if not text:
        raise SoapError(f"expected {'/'.join(path)} with a text, got none")
    return text


def read_token(parent: Element) -> Token | None:
    """Return the BinarySecurityToken directly below an element, or None."""
    found = find(parent, SECURITY, "BinarySecurityToken")
    return None if found is None else Token(found.get("ValueType", ""), "".join((found.text or "").split()))


def _only_child(root: Element) -> Element:
    body = find(root, ENVELOPE, "Body")
    if body is None or len(body) != 1:
        raise SoapError(f"expected a Body with one element, got {0 if body is None else len(body)}")
    return body[0]


def parse_request(data: bytes) -> Request:
    """Return a request.

    Raises:
        SoapError: not XML, a document type or entity in it, not SOAP 1.2, no action or message id, no body.

    """
    root = _root(data)
    header = find(root, ENVELOPE, "Header")
    if header is None:
        raise SoapError("expected a Header, got none")
    security = find(header, SECURITY, "Security")
    token = None if security is None else read_token(security)
    action, message_id = (text_of(header, ADDRESSING, name) for name in ("Action", "MessageID"))
    return Request(action, message_id, token, _only_child(root))


def parse_response(data: bytes) -> Element | Fault:
    """Return the body of an answer, or the fault it is.

    Raises:
        SoapError: neither.

    """
    body = _only_child(_root(data))
    if body.tag != f"{{{ENVELOPE}}}Fault":
        return body
    subcode = text_of(body, ENVELOPE, "Code", "Subcode", "Value").rpartition(":")[2]
    detail = find(body, ENVELOPE, "Detail")
    error = None if detail is None else find(detail, _ERROR, "DeviceEnrollmentServiceError")
    if error is None:
        return Fault(subcode, "", text_of(body, ENVELOPE, "Reason", "Text"))
    return Fault(subcode, text_of(error, _ERROR, "ErrorType"), text_of(error, _ERROR, "Message"))
