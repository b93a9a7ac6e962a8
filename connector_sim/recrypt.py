"""The hot path: decrypt imported passwords with the on-premises key, encrypt them for devices. Pure.

Follows RecryptPfxImportMessage of Microsoft's PFXImport sources (sources.md#recryption): OAEP decryption, then CMS
EnvelopedData for one recipient. Apple devices get the whole payload array, Windows devices the password alone.

A user's certificate goes to several devices: within a batch each distinct ciphertext costs one private operation.
Passwords live in buffers that are overwritten when the batch ends; what Python makes immutable, it drops.
"""

import os
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from pfxlab.connector_sim.cms import RANDOM_BYTES, RecipientUnusable, envelop
from pfxlab.connector_sim.errors import ConnectorError
from pfxlab.connector_sim.keys.provider import DecryptionKey
from pfxlab.emulator.wire.apple.mdm import fill_pkcs12_payload
from pfxlab.emulator.wire.apple.plist import PlistError
from pfxlab.emulator.wire.connector import (
    RECIPIENT_UNUSABLE,
    TEMPLATE_UNUSABLE,
    NotRecrypted,
    PayloadEncryption,
    Recrypted,
    Result,
    WorkItem,
)
from pfxlab.emulator.wire.text import describe_defect

OpenKey: TypeAlias = Callable[[str, str], DecryptionKey]
"""Provider name and key name → the key; raises ConnectorError."""

Secret: TypeAlias = tuple[str, str, int, bytes]
"""What a private operation depends on: provider, key, number of the padding scheme, ciphertext."""

# The connector reads the decrypted password as ASCII; .NET makes a question mark of every other byte.
_AS_ASCII: Final = bytes(byte if byte < 128 else ord("?") for byte in range(256))


def secret_of(item: WorkItem) -> Secret:
    """Return what decides an item's private operation."""
    # A number hashes faster than an enumeration's member, which matters here.
    return item.provider_name, item.key_name, int(item.padding_scheme), item.encrypted_pfx_password


def partition(items: Sequence[WorkItem], parts: int) -> list[list[WorkItem]]:
    """Return the items in up to so many shares of like size, the items of one ciphertext together."""
    groups: dict[Secret, list[WorkItem]] = {}
    for item in items:
        groups.setdefault(secret_of(item), []).append(item)
    shares: list[list[WorkItem]] = [[] for _ in range(min(parts, len(groups)))]
    for number, group in enumerate(groups.values()):
        shares[number % len(shares)] += group
    return shares


def recrypt(items: Sequence[WorkItem], open_key: OpenKey) -> list[Result]:
    """Return the results of a batch, in its order; every failure comes back as a reason, none is raised."""
    keys: dict[tuple[str, str], DecryptionKey] = {}
    passwords: dict[Secret, bytearray] = {}
    refused: dict[Secret, ConnectorError] = {}
    results: list[Result] = []
    # Each call of the system lets another thread in; a batch asks once.
    random = os.urandom(len(items) * RANDOM_BYTES)
    try:
        for place, item in enumerate(items):
            secret = secret_of(item)
            password = passwords.get(secret)
            if password is None:
                error = refused.get(secret)
                try:
                    if error is not None:
                        raise error
                    password = passwords[secret] = _decrypt(item, keys, open_key)
                except ConnectorError as reason:
                    refused[secret] = reason
                    results.append(NotRecrypted(item.request_id, reason.code, str(reason)))
                    continue
            results.append(_envelop(item, password, random[place * RANDOM_BYTES : (place + 1) * RANDOM_BYTES]))
    finally:
        for password in passwords.values():
            password[:] = bytes(len(password))
    return results


def recrypt_each(items: Sequence[WorkItem], open_key: OpenKey) -> list[Result]:
    """Return what `recrypt` does; an item that nobody foresaw fails by itself and takes no other of its batch along."""
    try:
        return recrypt(items, open_key)
    except Exception as error:
        if len(items) == 1:
            return [NotRecrypted(items[0].request_id, "InternalError", describe_defect(error))]
        return [result for item in items for result in recrypt_each([item], open_key)]


def _decrypt(item: WorkItem, keys: dict[tuple[str, str], DecryptionKey], open_key: OpenKey) -> bytearray:
    name = (item.provider_name, item.key_name)
    key = keys.get(name)
    if key is None:
        key = keys[name] = open_key(*name)
    return bytearray(key.decrypt(item.encrypted_pfx_password, item.padding_scheme).translate(_AS_ASCII))


def _envelop(item: WorkItem, password: bytearray, random: bytes) -> Result:
    content: bytes | bytearray = password
    try:
        if isinstance(item, PayloadEncryption):
            content = fill_pkcs12_payload(
                item.plist_template, item.cert1_payload_uuid, item.encrypted_pfx_blob, password.decode("ascii")
            )
        return Recrypted(item.request_id, envelop(content, item.device_certificate, random))
    except RecipientUnusable as error:
        return NotRecrypted(item.request_id, RECIPIENT_UNUSABLE, str(error))
    except PlistError as error:
        return NotRecrypted(item.request_id, TEMPLATE_UNUSABLE, str(error))
    except ValueError:
        # The plist writer names the value it cannot write, and that value is the password.
        text = "the password holds characters a plist cannot carry"
        return NotRecrypted(item.request_id, TEMPLATE_UNUSABLE, text)
