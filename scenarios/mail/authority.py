"""A small certificate authority for mail certificates, TEST ONLY: three generations of encryption, one of signing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pfxlab.device_sim.keys import NewKey, generate
from pfxlab.emulator.pki import Authority, new_authority
from pfxlab.emulator.secret_words import secret_word
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme


@dataclass(frozen=True)
class MailCertificate:
    """A certificate of a mail user with its PFX and password, as an administrator has them."""

    label: str
    purpose: IntendedPurpose
    padding: PaddingScheme
    pfx: bytes = field(repr=False)
    password: str = field(repr=False)
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey | None = field(repr=False, default=None)


@dataclass(frozen=True)
class CertificatePlan:
    """What a certificate is to be: validity in days against the authority's present, PFX algorithms, chain in the PFX.

    `legacy`: 3DES and SHA-1, else AES-256 and SHA-256. `password`: a random one when empty.
    """

    label: str
    purpose: IntendedPurpose
    padding: PaddingScheme
    starts_days_ago: int
    lasts_days: int
    legacy: bool
    chain: bool = False
    password: str = field(default="", repr=False)


_PLANS = (
    CertificatePlan(
        "encryption 1 (expired)", IntendedPurpose.smimeEncryption, PaddingScheme.oaepSha256, 1500, 730, True
    ),
    CertificatePlan("encryption 2", IntendedPurpose.smimeEncryption, PaddingScheme.oaepSha384, 780, 1095, False),
    CertificatePlan("encryption 3 (current)", IntendedPurpose.smimeEncryption, PaddingScheme.oaepSha512, 60, 730, True),
    CertificatePlan("signing", IntendedPurpose.smimeSigning, PaddingScheme.oaepSha512, 60, 730, False),
)


def _protection(password: str, *, legacy: bool) -> PrivateFormat:  # the builder's own return type is not exported
    builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(2000)
    if legacy:
        builder = builder.key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        builder = builder.hmac_hash(hashes.SHA1())  # noqa: S303 - what Windows wrote up to Server 2016
    else:
        builder = builder.key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC).hmac_hash(hashes.SHA256())
    return builder.build(password.encode())  # type: ignore[return-value]


def export_pfx(
    name: str,
    key: rsa.RSAPrivateKey,
    certificate: x509.Certificate,
    password: str,
    *,
    legacy: bool = False,
    chain: Sequence[x509.Certificate] = (),
) -> bytes:
    """Return a PKCS#12 with 3DES and SHA-1 (`legacy`, as Windows long wrote it) or AES-256 and SHA-256."""
    return pkcs12.serialize_key_and_certificates(
        name.encode(),
        key,
        certificate,
        list(chain) or None,
        _protection(password, legacy=legacy),  # type: ignore[arg-type]
    )


def _usage(purpose: IntendedPurpose) -> x509.KeyUsage:
    signs = purpose is IntendedPurpose.smimeSigning
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=signs,
        key_encipherment=not signs,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


class MailAuthority:
    """Issues mail certificates. `new_key`: generates their keys."""

    def __init__(self, now: datetime, new_key: NewKey = generate) -> None:
        self._now, self._new_key = now, new_key
        self._root: Authority = new_authority("PFX Lab Mail CA", now - timedelta(days=2000), new_key())

    @property
    def certificate(self) -> x509.Certificate:
        """Return the root certificate."""
        return self._root.certificate

    def issue(self, upn: str, plan: CertificatePlan) -> MailCertificate:
        """Return a certificate for an address, exported as its plan says."""
        return self.issue_from(upn, plan, self._now - timedelta(days=plan.starts_days_ago))

    def issue_from(self, upn: str, plan: CertificatePlan, starts: datetime) -> MailCertificate:
        """Return the same with its validity beginning at a given moment."""
        key = self._new_key()
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "PFX Lab TEST ONLY"),
                x509.NameAttribute(NameOID.COMMON_NAME, f"{upn.partition('@')[0]} {plan.label}"[:64]),
            ]
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._root.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(starts)
            .not_valid_after(starts + timedelta(days=plan.lasts_days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(plan.purpose), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(upn)]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(self._root.key, hashes.SHA256())
        )
        password = plan.password or secret_word(16)
        chain = [self.certificate] if plan.chain else []
        pfx = export_pfx(plan.label, key, certificate, password, legacy=plan.legacy, chain=chain)
        return MailCertificate(plan.label, plan.purpose, plan.padding, pfx, password, certificate, key)

    def history(self, upn: str) -> list[MailCertificate]:
        """Return three generations of encryption certificates, oldest first, and a signing certificate."""
        return [self.issue(upn, plan) for plan in _PLANS]
