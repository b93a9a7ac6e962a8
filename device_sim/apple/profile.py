"""Apple configuration profiles on a device: verify, decrypt the payload array, install all of it or nothing.

Sources: sources.md#apple-profiles, sources.md#apple-encrypted-profiles, sources.md#apple-pkcs12-payload,
sources.md#apple-error-codes.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding

from pfxlab.device_sim import pkcs12
from pfxlab.device_sim.apple.pkcs12 import Pkcs12Policy, is_modern
from pfxlab.device_sim.certstore import CertStore, Identity
from pfxlab.device_sim.cms import CannotDecrypt, decrypt
from pfxlab.device_sim.identity import MdmIdentity
from pfxlab.device_sim.mailbox import may_sign
from pfxlab.emulator.wire.apple import mdm
from pfxlab.emulator.wire.apple.plist import PlistError
from pfxlab.emulator.wire.signed_data import SignatureProblem, verify

_LATEST_IPHONE: Final = Pkcs12Policy(modern=True, chain=False)
_DER_SEQUENCE: Final = b"\x30"


class InstallRefused(Exception):
    """A profile is not installed; `chain` is the ErrorChain the device reports."""

    def __init__(self, *errors: tuple[str, int, str]) -> None:
        super().__init__(" <- ".join(text for _, _, text in errors))
        self.chain = mdm.error_chain(*errors)


@dataclass
class InstalledProfile:
    """An installed profile.

    `sources`: the store entries its payloads made. `signers`: certificates of its signature, base64 of DER.
    `accounts`: mail accounts, each with address and the store entries it signs and encrypts with.
    """

    uuid: str
    display_name: str
    sources: list[str] = field(default_factory=list)
    signers: list[str] = field(default_factory=list)
    accounts: list[dict[str, Any]] = field(default_factory=list)
    encrypted: bool = True


@dataclass(frozen=True)
class Opened:
    """A profile as it came: its dictionary and who signed it."""

    profile: mdm.Plist
    signers: tuple[str, ...]


def _failure(name: str, domain: str, code: int, text: str) -> InstallRefused:
    top = f"The profile “{name}” could not be installed."
    return InstallRefused((mdm.INSTALLATION_ERRORS, mdm.INSTALLATION_FAILURE, top), (domain, code, text))


def open_profile(data: bytes) -> Opened:
    """Return the dictionary of a profile, after its signature, if it has one, proved intact.

    Whether the signer is trusted decides a label only: sources.md#apple-signed-profiles.

    Raises:
        InstallRefused: a broken signature (1004) or no profile (1000).

    """
    signers: tuple[str, ...] = ()
    if data.startswith(_DER_SEQUENCE):
        try:
            signed = verify(data)
        except SignatureProblem:
            text = "The signature of the profile is not valid."
            raise InstallRefused((mdm.PROFILE_ERRORS, mdm.BAD_SIGNATURE, text)) from None
        held = (signed.signer, *signed.certificates)
        signers = tuple(base64.b64encode(one.public_bytes(Encoding.DER)).decode("ascii") for one in held)
        data = signed.content
    try:
        profile = mdm.parse_dict(data)
    except PlistError as error:
        raise InstallRefused((mdm.PROFILE_ERRORS, mdm.MALFORMED_PROFILE, str(error))) from None
    if profile.get("PayloadType") != "Configuration":
        text = "The profile is malformed."
        raise InstallRefused((mdm.PROFILE_ERRORS, mdm.MALFORMED_PROFILE, text))
    missing = [key for key in ("PayloadIdentifier", "PayloadUUID") if not isinstance(profile.get(key), str)]
    if missing:
        text = f"The profile lacks the field “{missing[0]}”."
        raise InstallRefused((mdm.PROFILE_ERRORS, mdm.MISSING_FIELD, text))
    return Opened(profile, signers)


def _payloads(profile: mdm.Plist, identity: MdmIdentity) -> list[mdm.Plist]:
    encrypted = profile.get("EncryptedPayloadContent")
    if isinstance(encrypted, bytes):
        try:
            payloads = mdm.parse_payloads(decrypt(encrypted, identity.certificate, identity.key))
        except (CannotDecrypt, PlistError):
            text = "The encrypted profile could not be decrypted with any identity of this device."
            raise InstallRefused((mdm.PROFILE_ERRORS, mdm.CANNOT_DECRYPT, text)) from None
    else:
        content = profile.get("PayloadContent")
        payloads = [one for one in content if isinstance(one, dict)] if isinstance(content, list) else []
    if not payloads:
        raise InstallRefused((mdm.PROFILE_ERRORS, mdm.EMPTY_PROFILE, "The profile is empty."))
    return payloads


def _check_uuids(name: str, payloads: Sequence[mdm.Plist]) -> None:
    seen: set[str] = set()
    for payload in payloads:
        uuid = payload.get("PayloadUUID")
        if not isinstance(uuid, str):
            raise _failure(name, mdm.PROFILE_ERRORS, mdm.MISSING_FIELD, "A payload lacks the field “PayloadUUID”.")
        if uuid in seen:
            text = f"The profile “{name}” holds two payloads with the UUID {uuid}."
            raise InstallRefused((mdm.INSTALLATION_ERRORS, mdm.DUPLICATE_UUID, text))
        seen.add(uuid)


async def _identity_of(payload: mdm.Plist, source: str, policy: Pkcs12Policy) -> Identity:
    file_name = str(payload.get("PayloadCertificateFileName", "certificate"))
    name = str(payload.get("PayloadDisplayName", file_name))
    data, password = payload.get("PayloadContent"), payload.get("Password")
    if not isinstance(data, bytes):
        raise _failure(name, mdm.CERTIFICATE_ERRORS, mdm.MALFORMED_CERTIFICATE, "The payload holds no PKCS#12.")
    wrong = f"The password for the certificate “{file_name}” is incorrect."
    if not isinstance(password, str) or not password:
        raise _failure(name, mdm.CERTIFICATE_ERRORS, mdm.INVALID_PASSWORD, wrong)
    if not policy.modern and is_modern(data):
        # Older versions know the algorithms as little as the password they then complain of.
        raise _failure(name, mdm.CERTIFICATE_ERRORS, mdm.INVALID_PASSWORD, wrong)
    try:
        opened = await pkcs12.open_container(data, password.encode())
    except pkcs12.WrongPassword:
        raise _failure(name, mdm.CERTIFICATE_ERRORS, mdm.INVALID_PASSWORD, wrong) from None
    except pkcs12.CertificateUnusable as unusable:
        text = f"“{file_name}” holds {unusable}."
        raise _failure(name, mdm.CERTIFICATE_ERRORS, mdm.MALFORMED_CERTIFICATE, text) from None
    except pkcs12.NotPkcs12:
        text = f"“{file_name}” is not a PKCS#12 container."
        raise _failure(name, mdm.CERTIFICATE_ERRORS, mdm.MALFORMED_CERTIFICATE, text) from None
    if opened.key is None or opened.certificate is None:
        text = f"“{file_name}” holds no identity."
        raise _failure(name, mdm.CERTIFICATE_ERRORS, mdm.NOT_AN_IDENTITY, text)
    if opened.others and not policy.chain:
        text = (
            f"“{file_name}” must contain one certificate and its private key only, it holds {len(opened.others) + 1}."
        )
        raise _failure(name, mdm.CERTIFICATE_ERRORS, mdm.TOO_MANY_CERTIFICATES, text)
    return Identity(source, opened.certificate, opened.key, exportable=bool(payload.get("KeyIsExtractable", False)))


def _account_of(payload: mdm.Plist, made: dict[str, Identity]) -> dict[str, Any]:
    """Return a mail account whose S/MIME references name identities of the same profile.

    Source: sources.md#apple-mail-accounts.
    """
    name = str(payload.get("EmailAccountDescription", payload.get("EmailAddress", "mail")))
    account: dict[str, Any] = {"address": str(payload.get("EmailAddress", ""))}
    for use, enabled, key in (
        ("signs_with", "SMIMESigningEnabled", "SMIMESigningCertificateUUID"),
        ("encrypts_with", "SMIMEEncryptByDefault", "SMIMEEncryptionCertificateUUID"),
    ):
        reference = payload.get(key)
        if reference is None:
            continue
        identity = made.get(str(reference))
        if identity is None:
            text = f"The S/MIME certificate {reference} of the account “{name}” was not found."
            raise _failure(name, mdm.EMAIL_ERRORS, mdm.SMIME_CERTIFICATE_NOT_FOUND, text)
        if use == "signs_with" and not may_sign(identity.certificate):
            text = f"The S/MIME certificate of the account “{name}” may not sign."
            raise _failure(name, mdm.EMAIL_ERRORS, mdm.SMIME_CERTIFICATE_BAD, text)
        account |= {use: identity.source, enabled: bool(payload.get(enabled, False))}
    return account


async def install(
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
    opened = open_profile(data)
    profile, identifier = opened.profile, str(opened.profile["PayloadIdentifier"])
    name = str(profile.get("PayloadDisplayName", "profile"))
    payloads = _payloads(profile, identity)
    _check_uuids(name, payloads)
    ready = {
        str(payload["PayloadUUID"]): await _identity_of(payload, f"{identifier}/{payload['PayloadUUID']}", policy)
        for payload in payloads
        if payload.get("PayloadType") == mdm.PKCS12_PAYLOAD
    }
    accounts = [_account_of(one, ready) for one in payloads if one.get("PayloadType") == mdm.MAIL_PAYLOAD]
    remove(identifier, store, installed)
    for made in ready.values():
        store.install(made)
    record = InstalledProfile(
        str(profile["PayloadUUID"]),
        name,
        [made.source for made in ready.values()],
        list(opened.signers),
        accounts,
        "EncryptedPayloadContent" in profile,
    )
    installed[identifier] = record
    return record


def remove(identifier: str, store: CertStore, installed: dict[str, InstalledProfile]) -> bool:
    """Remove a profile with everything it installed; return whether there was one."""
    record = installed.pop(identifier, None)
    for source in record.sources if record is not None else ():
        store.remove(source)
    return record is not None
