import asyncio
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.device_sim.certstore import CertStore, Identity
from pfxlab.device_sim.mailbox import CannotOpen, NothingToSignWith, open_mail, sign_mail
from pfxlab.scenarios.mail.authority import MailAuthority, MailCertificate
from pfxlab.scenarios.mail.openssl import OpenSsl, OpenSslFailed

UPN = "user@pfxlab.example"


@pytest.fixture(scope="module")
def authority() -> MailAuthority:
    """Return a mail CA."""
    return MailAuthority(datetime.now(UTC))


@pytest.fixture(scope="module")
def history(authority: MailAuthority) -> list[MailCertificate]:
    """Return a user's certificates: three of encryption, one of signing."""
    return authority.history(UPN)


def store_of(certificates: list[MailCertificate]) -> CertStore:
    """Return a store with these certificates."""
    store = CertStore()
    for made in certificates:
        assert isinstance(made.key, rsa.RSAPrivateKey)
        store.install(Identity(made.label, made.certificate, made.key))
    return store


async def test_each_generation_opens_its_own_mail(history: list[MailCertificate]) -> None:
    """Of three generations on a device, each opens the mail of OpenSSL's that was written to it."""
    store, openssl = store_of(history), OpenSsl()
    for made in history[:3]:
        mail = await openssl.encrypt_mail(made.label.encode(), made.certificate)
        plain, identity = open_mail(mail, store)
        assert made.label.encode() in plain
        assert identity.certificate == made.certificate


async def test_missing_generation_does_not_open(history: list[MailCertificate]) -> None:
    """Without the certificate a mail was written to it stays closed, however many others are there."""
    mail = await OpenSsl().encrypt_mail(b"text", history[0].certificate)
    with pytest.raises(CannotOpen, match="none of the 3 certificates"):
        open_mail(mail, store_of(history[1:]))


async def test_openssl_verifies_the_signature(authority: MailAuthority, history: list[MailCertificate]) -> None:
    """A mail signed on the device verifies with OpenSSL against the root, and not against another."""
    mail, identity = sign_mail(b"Signed text\r\n", store_of(history))
    assert identity.certificate == history[3].certificate
    assert b"Signed text" in await OpenSsl().verify_mail(mail, authority.certificate)
    stranger = await asyncio.to_thread(MailAuthority, datetime.now(UTC))
    with pytest.raises(OpenSslFailed):
        await OpenSsl().verify_mail(mail, stranger.certificate)


async def test_changed_mail_does_not_verify(authority: MailAuthority, history: list[MailCertificate]) -> None:
    """A signed mail with a modified text does not verify."""
    mail, _ = sign_mail(b"Signed text\r\n", store_of(history))
    with pytest.raises(OpenSslFailed):
        await OpenSsl().verify_mail(mail.replace(b"Signed text", b"Forged text"), authority.certificate)


def test_encryption_certificates_do_not_sign(history: list[MailCertificate]) -> None:
    """A device with encryption certificates only has nothing to sign with."""
    with pytest.raises(NothingToSignWith, match="none of the 3"):
        sign_mail(b"text", store_of(history[:3]))


def test_plain_mail_is_not_encrypted_mail() -> None:
    """A mail that is not encrypted is refused with its media type."""
    with pytest.raises(CannotOpen, match="got text/plain"):
        open_mail(b"Content-Type: text/plain\r\n\r\nhello", CertStore())
