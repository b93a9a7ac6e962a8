"""What an accepted import will come to grief with later, as far as the cloud can see ciphertext from outside. Pure."""

import re

from pfxlab.emulator.store.pfx_certificates import PfxCertificate
from pfxlab.emulator.wire.edm import parse_binary
from pfxlab.emulator.wire.enums import PaddingScheme

_RSA_SIZES = {bits // 8: bits for bits in (2048, 3072, 4096)}
_SHA1 = re.compile(r"[0-9a-fA-F]{40}")
_DIGEST = {PaddingScheme.oaepSha256, PaddingScheme.oaepSha384, PaddingScheme.oaepSha512}


def is_sha1(thumbprint: str) -> bool:
    """Return whether a thumbprint is forty hexadecimal digits (sources.md#record-thumbprint)."""
    return _SHA1.fullmatch(thumbprint) is not None


def notes_on(record: PfxCertificate) -> list[str]:
    """Return remarks on a record, each with a stable code first."""
    notes = []
    try:
        size = len(parse_binary(record.encrypted_pfx_password))
        if size not in _RSA_SIZES:
            notes.append(f"CiphertextLength: expected 256, 384 or 512 bytes of RSA ciphertext, got {size}")
    except ValueError:
        notes.append("PasswordNotBase64: expected base64 in encryptedPfxPassword, no connector can read it")
    if record.encrypted_pfx_blob[:1] != b"\x30":
        notes.append("BlobNotPkcs12: expected a PKCS#12 container, which begins with the byte 30")
    if not is_sha1(record.thumbprint):
        notes.append(f"ThumbprintForm: expected 40 hexadecimal digits, got {record.thumbprint[:80]!r}")
    if record.padding_scheme not in _DIGEST:
        notes.append(f"PaddingRetired: no connector processes {record.padding_scheme.name}")
    if not record.provider_name or not record.key_name:
        notes.append("KeyNameMissing: the connector finds its key by providerName and keyName")
    if record.expiration_date <= record.start_date:
        notes.append("DatesReversed: expirationDateTime is not after startDateTime")
    return notes
