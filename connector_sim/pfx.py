"""Opens and inspects PKCS#12 files as the import cmdlets do, and says in plain words why one cannot be used."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from asn1crypto import pkcs12 as asn1_pkcs12
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab import pkcs12_process
from pfxlab.connector_sim.errors import PfxProblem
from pfxlab.connector_sim.keys.padding import longest_password
from pfxlab.emulator.wire.asn1.pkcs12_cost import CostlyPkcs12, check_cost, check_rsa
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.emulator.wire.files.damaged import Unusable
from pfxlab.emulator.wire.files.key_pem import check_certificate

_EXPORT_ANEW: Final = "Export it again with the usual settings, or have a certificate issued for a usual key."
_KEY_BAGS = ("key_bag", "pkcs8_shrouded_key_bag")


@dataclass(frozen=True)
class Pfx:
    """An opened PFX: the file's bytes unchanged, its leaf certificate, and how many more certificates it holds."""

    data: bytes
    certificate: x509.Certificate
    chain_length: int

    @property
    def thumbprint(self) -> str:
        """Return the leaf's SHA-1, lower-case hexadecimal."""
        return self.certificate.fingerprint(hashes.SHA1()).hex()  # noqa: S303 - a name, not a protection

    @property
    def start(self) -> datetime:
        """Return NotBefore."""
        return self.certificate.not_valid_before_utc

    @property
    def end(self) -> datetime:
        """Return NotAfter."""
        return self.certificate.not_valid_after_utc


def count_keys(data: bytes) -> int:
    """Return how many private keys lie in the parts that are not encrypted as a whole; exporters put keys there."""
    pfx = asn1_pkcs12.Pfx.load(data, strict=True)
    bags = [
        bag["bag_id"].native
        for content in pfx.authenticated_safe
        if content["content_type"].native == "data"
        for bag in asn1_pkcs12.SafeContents.load(content["content"].native)
    ]
    return sum(bag in _KEY_BAGS for bag in bags)


def _looks_like_pfx(data: bytes) -> bool:
    try:
        return bool(asn1_pkcs12.Pfx.load(data)["version"].native == "v3")
    except (ValueError, TypeError, RecursionError):
        return False


def open_pfx(data: bytes, password: str) -> Pfx:
    """Return the PFX when it can be imported.

    Raises:
        PfxProblem: not a PFX, wrong password, no private key, several keys, no certificate for the key, one with a
            field that cannot be read, or too much to compute.

    """
    if not _looks_like_pfx(data):
        raise PfxProblem(
            f"This is not a PFX: expected a PKCS#12 container, got {len(data)} other bytes.",
            "Export the certificate with its private key as .pfx or .p12 (binary, not PEM text).",
        )
    try:
        opened = pkcs12_process.load(data, password.encode(), check_cost(data).shown)
    except (CostlyPkcs12, pkcs12_process.NotOpened) as costly:
        raise PfxProblem(f"This PFX holds {costly}.", _EXPORT_ANEW) from None
    except (pkcs12_process.WrongPassword, pkcs12_process.NotPkcs12, UnicodeEncodeError):
        raise PfxProblem(
            "The password does not open this PFX.",
            "Check the password file: its first line, without the line end, is taken as the password.",
        ) from None
    if opened.key is None:
        raise PfxProblem(
            "This PFX holds no private key.", "Export it again with the option 'Yes, export the private key'."
        )
    if (keys := _count(data)) > 1:
        raise PfxProblem(f"This PFX holds {keys} private keys, one is expected.", "Export each certificate by itself.")
    if opened.certificate is None:
        raise PfxProblem(
            "This PFX holds a key, but no certificate for it.", "Export certificate and private key together."
        )
    try:
        check_certificate(opened.certificate)
    except Unusable as unusable:
        raise PfxProblem(f"This PFX holds {unusable}.", "Have it issued again: devices refuse it.") from None
    _check_key(opened.certificate)
    return Pfx(data, opened.certificate, len(opened.others))


def _check_key(certificate: x509.Certificate) -> None:
    """Let a certificate pass whose key is not RSA, or of usual size; an encrypted one could not be seen before."""
    public = certificate.public_key()
    if not isinstance(public, rsa.RSAPublicKey):
        return
    numbers = public.public_numbers()
    try:
        check_rsa(numbers.n, numbers.e)
    except CostlyPkcs12 as costly:
        raise PfxProblem(f"This PFX holds {costly}.", _EXPORT_ANEW) from None


def _count(data: bytes) -> int:
    try:
        return count_keys(data)
    except (ValueError, TypeError, KeyError):
        # An unusual inner structure that OpenSSL could read all the same: it found one key.
        return 1


def check_usable(pfx: Pfx, password: str) -> None:
    """Let a PFX pass that connector and simulated devices can process.

    Raises:
        PfxProblem: empty, non-ASCII or too long a password, or a key other than RSA.

    """
    longest = longest_password(2048, PaddingScheme.oaepSha512)
    if not password:
        raise PfxProblem("This PFX has an empty password.", "Devices refuse those: export it again with a password.")
    if not password.isascii():
        raise PfxProblem(
            "The password is not ASCII, and connectors read it as ASCII.", "Export with an ASCII password."
        )
    if len(password) > longest:
        raise PfxProblem(
            f"The password has {len(password)} characters, {longest} fit under RSA-2048 and OAEP with SHA-512.",
            "Export with a shorter password.",
        )
    if not isinstance(pfx.certificate.public_key(), rsa.RSAPublicKey):
        raise PfxProblem("The certificate's key is not RSA.", "The simulated devices take RSA keys only as yet.")


def check_validity(pfx: Pfx, now: datetime) -> None:
    """Let a certificate pass that is valid at `now`.

    Raises:
        PfxProblem: it has expired or is not valid yet.

    """
    if pfx.end < now:
        raise PfxProblem(
            f"This certificate expired on {pfx.end:%Y-%m-%d}.",
            "Import its successor, or add --allow-expired to keep old mail readable with it.",
        )
    if pfx.start > now:
        raise PfxProblem(
            f"This certificate is not valid before {pfx.start:%Y-%m-%d}.", "Check its dates and this machine's clock."
        )


def purpose_of(certificate: x509.Certificate) -> IntendedPurpose:
    """Return the purpose a certificate's key usage suggests: encryption when it may encipher keys, else signing."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return IntendedPurpose.smimeEncryption
    enciphers = usage.key_encipherment or usage.key_agreement
    return IntendedPurpose.smimeEncryption if enciphers else IntendedPurpose.smimeSigning
