"""The connector contract: messages between the Intune service and a certificate connector.

Ours, since the real protocol is unpublished; the vocabulary follows pfxRecryptionRequest and onPremEncryptedPayload
(sources.md#connector-records). Bodies are JSON, checked against schemas/connector-*.json.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Final, NoReturn

import msgspec

from pfxlab.emulator.wire import jsontext
from pfxlab.emulator.wire.enums import PaddingScheme
from pfxlab.emulator.wire.schemas import first_problem

ENROLL_PATH: Final = "/connector/v1/enroll"
LEASE_PATH: Final = "/connector/v1/lease"
COMPLETE_PATH: Final = "/connector/v1/complete"
HEARTBEAT_PATH: Final = "/connector/v1/heartbeat"
RENEW_PATH: Final = "/connector/v1/renew"

UNKNOWN_CONNECTOR: Final = "UnknownConnector"

KEY_NOT_FOUND: Final = "KeyNotFound"
DECRYPT_FAILED: Final = "DecryptFailed"
PADDING_UNSUPPORTED: Final = "PaddingUnsupported"
PROVIDER_UNKNOWN: Final = "ProviderUnknown"
RECIPIENT_UNUSABLE: Final = "RecipientUnusable"
TEMPLATE_UNUSABLE: Final = "TemplateUnusable"
RESULT_TOO_LARGE: Final = "ResultTooLarge"


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


class PasswordRecryption(msgspec.Struct, frozen=True, array_like=True, tag="password"):
    """pfxRecryptionRequest: the password alone is re-encrypted for the device (Windows)."""

    request_id: str
    provider_name: str
    key_name: str
    padding_scheme: PaddingScheme
    encrypted_pfx_password: bytes
    device_certificate: bytes
    device_key_thumbprint: str


class PayloadEncryption(PasswordRecryption, frozen=True, array_like=True, tag="payload"):
    """onPremEncryptedPayload: the whole payload array is completed and encrypted (Apple)."""

    plist_template: bytes
    cert1_payload_uuid: str
    encrypted_pfx_blob: bytes


WorkItem = PasswordRecryption


class Recrypted(msgspec.Struct, frozen=True, array_like=True, tag="done"):
    """A finished request: DER CMS EnvelopedData for the device's certificate."""

    request_id: str
    encrypted_blob: bytes


class NotRecrypted(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """A failed request: `code` is one of this module's reasons, `message` says expected and got."""

    request_id: str
    code: str
    message: str


Result = Recrypted | NotRecrypted


@dataclass(frozen=True)
class Work:
    """A lease: `lease_id` None and no items when there is nothing to do."""

    lease_id: str | None
    lease_seconds: float
    items: list[WorkItem]


@dataclass(frozen=True)
class Completion:
    """What a connector made of a lease."""

    lease_id: str
    results: list[Result]


# The messages with many requests are read and written by these types, which say the same as the schemas: bytes are
# base64 in JSON, and a body that does not fit is refused with the schema's words.
_NAMES: Final = {
    "request_id": "requestId",
    "provider_name": "providerName",
    "key_name": "keyName",
    "padding_scheme": "paddingScheme",
    "encrypted_pfx_password": "encryptedPfxPassword",
    "device_certificate": "deviceCertificate",
    "device_key_thumbprint": "deviceKeyThumbprint",
    "plist_template": "plistTemplate",
    "cert1_payload_uuid": "cert1PayloadUUID",
    "encrypted_pfx_blob": "encryptedPfxBlob",
    "encrypted_blob": "encryptedBlob",
    "lease_id": "leaseId",
    "lease_seconds": "leaseSeconds",
}
_Id = Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
_Content = Annotated[bytes, msgspec.Meta(min_length=1)]


class _Item(msgspec.Struct, rename=_NAMES, forbid_unknown_fields=True, omit_defaults=True):
    request_id: _Id
    provider_name: str
    key_name: str
    padding_scheme: PaddingScheme
    encrypted_pfx_password: bytes
    device_certificate: bytes
    device_key_thumbprint: str
    plist_template: bytes | msgspec.UnsetType = msgspec.UNSET
    cert1_payload_uuid: str | msgspec.UnsetType = msgspec.UNSET
    encrypted_pfx_blob: bytes | msgspec.UnsetType = msgspec.UNSET


class _Work(msgspec.Struct, rename=_NAMES, forbid_unknown_fields=True):
    lease_id: str | None
    lease_seconds: float
    items: list[_Item]


LARGEST_BODY: Final = 16 * 2**20
"""Bytes of a message that the service takes; results that need more go in several."""

_LONGEST_MESSAGE: Final = 2000
_RESULT_FRAME: Final = 256


class _Result(msgspec.Struct, rename=_NAMES, forbid_unknown_fields=True, omit_defaults=True):
    request_id: _Id
    encrypted_blob: _Content | msgspec.UnsetType = msgspec.UNSET
    code: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | msgspec.UnsetType = msgspec.UNSET
    message: Annotated[str, msgspec.Meta(max_length=_LONGEST_MESSAGE)] | msgspec.UnsetType = msgspec.UNSET


class _Completion(msgspec.Struct, rename=_NAMES, forbid_unknown_fields=True):
    lease_id: _Id
    results: Annotated[list[_Result], msgspec.Meta(max_length=500)]


_WORK: Final = msgspec.json.Decoder(_Work)
_COMPLETION: Final = msgspec.json.Decoder(_Completion)


def _refuse(name: str, data: bytes) -> NoReturn:
    """Raise what the schema says is wrong with a message that could not be read."""
    checked(name, jsontext.decode(data))
    raise ContractError("expected base64 and whole groups of properties, got a message that lacks them")


def write_work(lease_id: str | None, lease_seconds: float, items: Iterable[WorkItem]) -> bytes:
    """Return a lease as it is sent."""
    wired = [
        _Item(*_common(item), item.plist_template, item.cert1_payload_uuid, item.encrypted_pfx_blob)
        if isinstance(item, PayloadEncryption)
        else _Item(*_common(item))
        for item in items
    ]
    return msgspec.json.encode(_Work(lease_id, lease_seconds, wired))


def _common(item: WorkItem | _Item) -> tuple[str, str, str, PaddingScheme, bytes, bytes, str]:
    return (
        item.request_id,
        item.provider_name,
        item.key_name,
        item.padding_scheme,
        item.encrypted_pfx_password,
        item.device_certificate,
        item.device_key_thumbprint,
    )


def read_work(data: bytes) -> Work:
    """Return a lease as the service sent it.

    Raises:
        ContractError: the message breaks the contract.
        ValueError: it is no JSON.

    """
    try:
        wired = _WORK.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        _refuse("work", data)
    return Work(wired.lease_id, wired.lease_seconds, [_work_item(item) for item in wired.items])


def _work_item(item: _Item) -> WorkItem:
    template, uuid, blob = item.plist_template, item.cert1_payload_uuid, item.encrypted_pfx_blob
    if isinstance(template, msgspec.UnsetType) and isinstance(uuid, msgspec.UnsetType):
        return PasswordRecryption(*_common(item))
    if isinstance(template, msgspec.UnsetType) or isinstance(uuid, msgspec.UnsetType):
        raise ContractError(f"{item.request_id}: expected plistTemplate with cert1PayloadUUID, got one of them")
    if isinstance(blob, msgspec.UnsetType):
        raise ContractError(f"{item.request_id}: expected encryptedPfxBlob beside plistTemplate, got none")
    return PayloadEncryption(*_common(item), template, uuid, blob)


def write_completion(lease_id: str, results: Iterable[Result]) -> bytes:
    """Return results as they are sent; a message is cut, so that a long one costs no other result of the batch."""
    wired = [
        _Result(result.request_id, code=result.code, message=result.message[:_LONGEST_MESSAGE])
        if isinstance(result, NotRecrypted)
        else _Result(result.request_id, result.encrypted_blob)
        for result in results
    ]
    return msgspec.json.encode(_Completion(lease_id, wired))


def split_results(results: Iterable[Result], most: int = LARGEST_BODY) -> list[list[Result]]:
    """Return results in groups whose messages are no longer than `most` bytes. Pure.

    One that is longer by itself can reach nobody: it becomes a failure that says so.
    """
    groups: list[list[Result]] = []
    room = 0
    for result in results:
        need = _needs(result)
        if need > most - _RESULT_FRAME:
            text = f"expected a result of at most {most} bytes in base64, got {need}"
            result = NotRecrypted(result.request_id, RESULT_TOO_LARGE, text)
            need = _needs(result)
        if not groups or need > room:
            groups.append([])
            room = most - _RESULT_FRAME
        groups[-1].append(result)
        room -= need
    return groups


def _needs(result: Result) -> int:
    """Return how many bytes a result takes up at most."""
    if isinstance(result, Recrypted):
        return _RESULT_FRAME + -(-len(result.encrypted_blob) // 3) * 4
    # JSON writes a control character in six bytes.
    return _RESULT_FRAME + 6 * len(result.message[:_LONGEST_MESSAGE].encode())


def read_completion(data: bytes) -> Completion:
    """Return results as the connector sent them.

    Raises:
        ContractError: the message breaks the contract.
        ValueError: it is no JSON.

    """
    try:
        wired = _COMPLETION.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        _refuse("complete", data)
    return Completion(wired.lease_id, [_result(result) for result in wired.results])


def _result(result: _Result) -> Result:
    blob, code, message = result.encrypted_blob, result.code, result.message
    if not isinstance(blob, msgspec.UnsetType):
        if isinstance(code, msgspec.UnsetType) and isinstance(message, msgspec.UnsetType):
            return Recrypted(result.request_id, blob)
    elif not isinstance(code, msgspec.UnsetType) and not isinstance(message, msgspec.UnsetType):
        return NotRecrypted(result.request_id, code, message)
    raise ContractError(f"{result.request_id}: expected encryptedBlob, or code and message, got something between")
