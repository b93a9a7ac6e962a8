"""The connector contract: messages between the Intune service and a certificate connector.

Ours, since the real protocol is unpublished; the vocabulary follows pfxRecryptionRequest and
onPremEncryptedPayload (reference graph-intune 2). Bodies are JSON, checked against schemas/connector-*.json.
"""

import base64
from dataclasses import dataclass
from typing import Any, Final

from emulator.wire.enums import PaddingScheme
from emulator.wire.schemas import first_problem

ENROLL_PATH: Final = "/connector/v1/enroll"
LEASE_PATH: Final = "/connector/v1/lease"
COMPLETE_PATH: Final = "/connector/v1/complete"
HEARTBEAT_PATH: Final = "/connector/v1/heartbeat"

KEY_NOT_FOUND: Final = "KeyNotFound"
DECRYPT_FAILED: Final = "DecryptFailed"
PADDING_UNSUPPORTED: Final = "PaddingUnsupported"
PROVIDER_UNKNOWN: Final = "ProviderUnknown"
RECIPIENT_UNUSABLE: Final = "RecipientUnusable"
TEMPLATE_UNUSABLE: Final = "TemplateUnusable"


class ContractError(ValueError):
    """A message breaks the connector contract; the text says where and what was expected."""


def checked(name: str, body: Any) -> dict[str, Any]:
    """Return the body when it satisfies the schema `connector-{name}`.

    Raises:
        ContractError: it does not.

    """
    problem = first_problem(f"connector-{name}", body)
    if problem is not None:
        raise ContractError(problem)
    return dict(body)


@dataclass(frozen=True)
class PasswordRecryption:
    """pfxRecryptionRequest: the password alone is re-encrypted for the device (Windows)."""

    request_id: str
    provider_name: str
    key_name: str
    padding_scheme: PaddingScheme
    encrypted_pfx_password: bytes
    device_certificate: bytes
    device_key_thumbprint: str


@dataclass(frozen=True)
class PayloadEncryption(PasswordRecryption):
    """onPremEncryptedPayload: the whole payload array is completed and encrypted (Apple)."""

    plist_template: bytes
    cert1_payload_uuid: str
    encrypted_pfx_blob: bytes


WorkItem = PasswordRecryption


@dataclass(frozen=True)
class Recrypted:
    """A finished request: DER CMS EnvelopedData for the device's certificate."""

    request_id: str
    encrypted_blob: bytes


@dataclass(frozen=True)
class NotRecrypted:
    """A failed request: `code` is one of this module's reasons, `message` says expected and got."""

    request_id: str
    code: str
    message: str


Result = Recrypted | NotRecrypted


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def item_to_json(item: WorkItem) -> dict[str, Any]:
    """Return a work item as it is sent."""
    body = {
        "requestId": item.request_id,
        "providerName": item.provider_name,
        "keyName": item.key_name,
        "paddingScheme": int(item.padding_scheme),
        "encryptedPfxPassword": _b64(item.encrypted_pfx_password),
        "deviceCertificate": _b64(item.device_certificate),
        "deviceKeyThumbprint": item.device_key_thumbprint,
    }
    if isinstance(item, PayloadEncryption):
        body |= {
            "plistTemplate": _b64(item.plist_template),
            "cert1PayloadUUID": item.cert1_payload_uuid,
            "encryptedPfxBlob": _b64(item.encrypted_pfx_blob),
        }
    return body


def item_from_json(body: dict[str, Any]) -> WorkItem:
    """Return the work item of a checked lease answer."""
    common = {
        "request_id": body["requestId"],
        "provider_name": body["providerName"],
        "key_name": body["keyName"],
        "padding_scheme": PaddingScheme(body["paddingScheme"]),
        "encrypted_pfx_password": base64.b64decode(body["encryptedPfxPassword"]),
        "device_certificate": base64.b64decode(body["deviceCertificate"]),
        "device_key_thumbprint": body["deviceKeyThumbprint"],
    }
    if "plistTemplate" not in body:
        return PasswordRecryption(**common)
    return PayloadEncryption(
        **common,
        plist_template=base64.b64decode(body["plistTemplate"]),
        cert1_payload_uuid=body["cert1PayloadUUID"],
        encrypted_pfx_blob=base64.b64decode(body["encryptedPfxBlob"]),
    )


def result_to_json(result: Result) -> dict[str, Any]:
    """Return a result as it is sent."""
    match result:
        case Recrypted():
            return {"requestId": result.request_id, "encryptedBlob": _b64(result.encrypted_blob)}
        case NotRecrypted():
            return {"requestId": result.request_id, "code": result.code, "message": result.message}


def result_from_json(body: dict[str, Any]) -> Result:
    """Return the result of a checked completion."""
    if "encryptedBlob" in body:
        return Recrypted(body["requestId"], base64.b64decode(body["encryptedBlob"]))
    return NotRecrypted(body["requestId"], body["code"], body["message"])
