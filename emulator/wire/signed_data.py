"""CMS SignedData with one signer: made for SCEP, verified for everything that devices and the service sign.

Sources: sources.md#cms-signed-data, sources.md#apple-signed-profiles.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from asn1crypto import cms, core
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pfxlab.emulator.wire.asn1 import ber

_HASHES: Final[Mapping[str, type[hashes.HashAlgorithm]]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


_NOT_SIGNED_DATA: Final = (
    ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError, UnsupportedAlgorithm,
    x509.InvalidVersion,
)  # fmt: skip
"""What asn1crypto and cryptography raise over other structures."""


class SignatureProblem(ValueError):
    """Not SignedData, or its signature does not verify; the text says which."""


@dataclass(frozen=True)
class Signed:
    """Verified SignedData: the content, who signed, further certificates, signed attributes by OID, the signature."""

    content: bytes
    signer: x509.Certificate
    certificates: tuple[x509.Certificate, ...]
    attributes: Mapping[str, Any]
    signature: bytes


def _digest(name: str, data: bytes) -> bytes:
    digest = hashes.Hash(_HASHES[name]())
    digest.update(data)
    return digest.finalize()


def _attributes(extra: Mapping[str, core.Asn1Value], content: bytes) -> cms.CMSAttributes:
    own = [
        {"type": "content_type", "values": ["data"]},
        {"type": "message_digest", "values": [_digest("sha256", content)]},
    ]
    return cms.CMSAttributes([*own, *({"type": oid, "values": [core.Any(value)]} for oid, value in extra.items())])


def sign(
    content: bytes,
    certificate: x509.Certificate,
    key: rsa.RSAPrivateKey,
    attributes: Mapping[str, core.Asn1Value],
    *,
    detached: bool = False,
) -> bytes:
    """Return DER SignedData with signed attributes that cryptography's builder cannot add, content inside or not."""
    own = cms.Certificate.load(certificate.public_bytes(serialization.Encoding.DER))
    signed = _attributes(attributes, content)
    signer = cms.SignerInfo(
        {
            "version": "v1",
            "sid": {"issuer_and_serial_number": {"issuer": own.issuer, "serial_number": own.serial_number}},
            "digest_algorithm": {"algorithm": "sha256"},
            "signed_attrs": signed,
            "signature_algorithm": {"algorithm": "rsassa_pkcs1v15"},
            "signature": key.sign(cms.CMSAttributes(signed).dump(force=True), padding.PKCS1v15(), hashes.SHA256()),
        }
    )
    whole = cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [{"algorithm": "sha256"}],
            "encap_content_info": {"content_type": "data"} | ({} if detached else {"content": content}),
            "certificates": [own],
            "signer_infos": [signer],
        }
    )
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": whole}).dump())


def verify(der: bytes, detached: bytes | None = None) -> Signed:
    """Return what is signed; `detached` is the content when it is not inside. To trust the signer is the caller's part.

    Raises:
        SignatureProblem: not SignedData with one signer and its certificate, or the signature does not verify.

    """
    try:
        # Libraries work on every certificate and signer that there are, a million of them too.
        ber.read(der)
        info = cms.ContentInfo.load(der, strict=True)
        if info["content_type"].native != "signed_data":
            raise SignatureProblem(f"expected signed_data, got {info['content_type'].native}")
        signed = info["content"]
        attached = signed["encap_content_info"]["content"].native
        if detached is None and not isinstance(attached, bytes):
            raise SignatureProblem("expected content inside the signature, got none")
        content = attached if detached is None else detached
        (signer_info,) = signed["signer_infos"]
        held = tuple(_certificate(choice) for choice in signed["certificates"] or () if choice.name == "certificate")
        signer = next((held_one for held_one in held if _is_by(signer_info["sid"], held_one)), None)
        if signer is None:
            raise SignatureProblem("expected the signer's certificate, got none that matches")
        attributes = _verified(signer_info, signer, content)
        return Signed(
            content,
            signer,
            tuple(one for one in held if one is not signer),
            attributes,
            signer_info["signature"].native,
        )
    except SignatureProblem:
        raise
    except InvalidSignature:
        raise SignatureProblem("expected a signature that verifies, this one does not") from None
    except _NOT_SIGNED_DATA as error:
        raise SignatureProblem(f"expected SignedData with one signer, got something else ({error})") from None


def _certificate(choice: Any) -> x509.Certificate:
    return x509.load_der_x509_certificate(choice.chosen.dump())


def _is_by(sid: Any, certificate: x509.Certificate) -> bool:
    if sid.name == "issuer_and_serial_number":
        same = bool(sid.chosen["issuer"].dump() == certificate.issuer.public_bytes())
        return same and sid.chosen["serial_number"].native == certificate.serial_number
    own = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest
    return bool(sid.chosen.native == own)


def _verified(info: Any, signer: x509.Certificate, content: bytes) -> dict[str, Any]:
    """Return the signed attributes by OID, after digest and signature proved right."""
    name, key = info["digest_algorithm"]["algorithm"].native, signer.public_key()
    if name not in _HASHES or not isinstance(key, rsa.RSAPublicKey):
        raise SignatureProblem(f"expected an RSA signature with {', '.join(_HASHES)}, got {name}")
    attributes: dict[str, Any] = {}
    signed = content
    if info["signed_attrs"].native is not None:
        for attribute in info["signed_attrs"]:
            attributes[attribute["type"].dotted] = attribute["values"][0].native
        if attributes.get("1.2.840.113549.1.9.4") != _digest(name, content):
            raise SignatureProblem("expected the digest of the content, the signature is over another")
        # Signed is the SET OF, not the implicitly tagged field that travels.
        signed = b"\x31" + info["signed_attrs"].dump()[1:]
    key.verify(info["signature"].native, signed, padding.PKCS1v15(), _HASHES[name]())
    return attributes
