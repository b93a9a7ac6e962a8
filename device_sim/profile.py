"""Apple configuration profiles on a device: decrypt the payload array, install all of it or nothing.

Sources: reference devices B5 to B7 and B10 to B11.
"""

from dataclasses import dataclass, field
from typing import Final

from device_sim import pkcs12
from device_sim.apple_pkcs12 import Pkcs12Policy, is_modern
from device_sim.certstore import CertStore, Identity
from device_sim.cms import CannotDecrypt, decrypt
from device_sim.identity import MdmIdentity
from emulator.wire import apple

_LATEST_IPHONE: Final = Pkcs12Policy(modern=True, chain=False)


class InstallRefused(Exception):
    """A profile is not installed; `chain` is the ErrorChain the device reports."""

    def __init__(self, *errors: tuple[str, int, str]) -> None:
        super().__init__(" <- ".join(text for _, _, text in errors))
        self.chain = apple.error_chain(*errors)


@dataclass
class InstalledProfile:
    """An installed profile: its UUID and the store entries its payloads made."""

    uuid: str
    display_name: str
    sources: list[str] = field(default_factory=list)


def _failure(name: str, domain: str, code: int, text: str) -> InstallRefused:
    top = f"The profile “{name}” could not be installed."
    return InstallRefused((apple.INSTALLATION_ERRORS, apple.INSTALLATION_FAILURE, top), (domain, code, text))


def _payloads(profile: apple.Plist, identity: MdmIdentity) -> list[apple.Plist]:
    encrypted = profile.get("EncryptedPayloadContent")
    if not isinstance(encrypted, bytes):
        content = profile.get("PayloadContent")
        return content if isinstance(content, list) else []
    try:
        return apple.parse_payloads(decrypt(encrypted, identity.certificate, identity.key))
    except (CannotDecrypt, apple.PlistError):
        text = "The encrypted profile could not be decrypted with any identity of this device."
        raise InstallRefused((apple.PROFILE_ERRORS, apple.CANNOT_DECRYPT, text)) from None


def _identity_of(payload: apple.Plist, source: str, policy: Pkcs12Policy) -> Identity:
    file_name = str(payload.get("PayloadCertificateFileName", "certificate"))
    name = str(payload.get("PayloadDisplayName", file_name))
    data, password = payload.get("PayloadContent"), payload.get("Password")
    if not isinstance(data, bytes):
        raise _failure(name, apple.CERTIFICATE_ERRORS, apple.MALFORMED_CERTIFICATE, "The payload holds no PKCS#12.")
    wrong = f"The password for the certificate “{file_name}” is incorrect."
    if not isinstance(password, str) or not password:
        raise _failure(name, apple.CERTIFICATE_ERRORS, apple.INVALID_PASSWORD, wrong)
    if not policy.modern and is_modern(data):
        # Older versions know the algorithms as little as the password they then complain of.
        raise _failure(name, apple.CERTIFICATE_ERRORS, apple.INVALID_PASSWORD, wrong)
    try:
        opened = pkcs12.open_container(data, password.encode())
    except pkcs12.WrongPassword:
        raise _failure(name, apple.CERTIFICATE_ERRORS, apple.INVALID_PASSWORD, wrong) from None
    except pkcs12.NotPkcs12:
        text = f"“{file_name}” is not a PKCS#12 container."
        raise _failure(name, apple.CERTIFICATE_ERRORS, apple.MALFORMED_CERTIFICATE, text) from None
    if opened.key is None or opened.certificate is None:
        text = f"“{file_name}” holds no identity."
        raise _failure(name, apple.CERTIFICATE_ERRORS, apple.NOT_AN_IDENTITY, text)
    if opened.others and not policy.chain:
        text = (
            f"“{file_name}” must contain one certificate and its private key only, it holds {len(opened.others) + 1}."
        )
        raise _failure(name, apple.CERTIFICATE_ERRORS, apple.TOO_MANY_CERTIFICATES, text)
    return Identity(source, opened.certificate, opened.key)


def install(
    data: bytes,
    identity: MdmIdentity,
    store: CertStore,
    installed: dict[str, InstalledProfile],
    policy: Pkcs12Policy = _LATEST_IPHONE,
) -> InstalledProfile:
    """Install a profile; the same PayloadIdentifier replaces the installed one. `policy`: what the device opens.

    Raises:
        InstallRefused: nothing was changed.

    """
    try:
        profile = apple.parse_dict(data)
    except apple.PlistError as error:
        raise InstallRefused((apple.PROFILE_ERRORS, apple.MALFORMED_PROFILE, str(error))) from None
    identifier, name = profile.get("PayloadIdentifier"), str(profile.get("PayloadDisplayName", "profile"))
    if profile.get("PayloadType") != "Configuration" or not isinstance(identifier, str):
        text = "The profile is malformed."
        raise InstallRefused((apple.PROFILE_ERRORS, apple.MALFORMED_PROFILE, text))
    ready = [
        _identity_of(payload, f"{identifier}/{payload.get('PayloadUUID')}", policy)
        for payload in _payloads(profile, identity)
        if payload.get("PayloadType") == apple.PKCS12_PAYLOAD
    ]
    remove(identifier, store, installed)
    for made in ready:
        store.install(made)
    record = InstalledProfile(str(profile.get("PayloadUUID")), name, [made.source for made in ready])
    installed[identifier] = record
    return record


def remove(identifier: str, store: CertStore, installed: dict[str, InstalledProfile]) -> bool:
    """Remove a profile with everything it installed; return whether there was one."""
    record = installed.pop(identifier, None)
    for source in record.sources if record is not None else ():
        store.remove(source)
    return record is not None
