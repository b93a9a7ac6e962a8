"""Proofs that a delivered certificate works: mail of OpenSSL's opens on the device, the device's signature verifies."""

import secrets
from dataclasses import dataclass

from cryptography import x509

from pfxlab.device_sim.client import Device
from pfxlab.device_sim.mailbox import CannotOpen, NothingToSignWith, open_mail, sign_mail
from pfxlab.scenarios.mail.openssl import OpenSsl, OpenSslFailed


@dataclass(frozen=True)
class Proof:
    """One proof on one device. `detail`: what was shown, or what failed."""

    device: str
    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Mail:
    """A mail to one certificate, encrypted by OpenSSL, with the expected plaintext."""

    label: str
    thumbprint: str
    text: bytes
    mail: bytes
    how: str


_STYLES = (("-des3", False, "3DES"), ("-aes128", False, "AES-128"), ("-aes256", True, "AES-256, OAEP"))


async def write_mail(openssl: OpenSsl, label: str, certificate: x509.Certificate, thumbprint: str, age: int) -> Mail:
    """Return a mail to a certificate; `age` 0 is the oldest and is encrypted the way old archives are."""
    text = f"Mail for {label}, random word {secrets.token_hex(8)}\r\n".encode()
    cipher, oaep, how = _STYLES[min(age, len(_STYLES) - 1)]
    mail = await openssl.encrypt_mail(text, certificate, cipher, oaep=oaep)
    return Mail(label, thumbprint, text, mail, how)


def opens(device: Device, mail: Mail) -> Proof:
    """Prove that a device opens a mail with the certificate it was written to."""
    name = f"opens mail to {mail.label}"
    try:
        plain, identity = open_mail(mail.mail, device.store)
    except CannotOpen as error:
        return Proof(device.hardware.device_name, name, False, str(error))
    right = mail.text.strip() in plain and identity.thumbprint == mail.thumbprint
    detail = f"{mail.how}, {identity.thumbprint[:8]}" if right else "another text came out than was encrypted"
    return Proof(device.hardware.device_name, name, right, detail)


async def signs(openssl: OpenSsl, device: Device, trusted: x509.Certificate | None) -> Proof:
    """Prove that OpenSSL verifies a mail the device signed; `trusted` is the root, or None to trust the signer."""
    name, text = "signs a mail", f"Signed word {secrets.token_hex(8)}\r\n".encode()
    try:
        mail, identity = sign_mail(text, device.store)
        anchor = identity.certificate if trusted is None else trusted
        shown = await openssl.verify_mail(mail, anchor, is_root=trusted is not None)
    except (NothingToSignWith, OpenSslFailed) as error:
        return Proof(device.hardware.device_name, name, False, str(error))
    right = text.strip() in shown
    detail = f"verified, {identity.thumbprint[:8]}" if right else "OpenSSL verified another text"
    return Proof(device.hardware.device_name, name, right, detail)
