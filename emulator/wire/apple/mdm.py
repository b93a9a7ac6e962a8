"""Apple MDM property lists: check-in messages, commands, answers, and the profile that carries a PKCS#12.

Sources: sources.md#apple-check-in, sources.md#apple-commands, sources.md#apple-profiles,
sources.md#apple-pkcs12-payload, sources.md#apple-error-codes. The identifiers of profiles are the lab's own:
sources.md#apple-profile-identifiers.
"""

import base64
import plistlib
import re
from typing import Any, Final, TypeAlias
from xml.sax.saxutils import escape

from pfxlab.emulator.wire.apple.plist import PlistError, load

Plist: TypeAlias = dict[str, Any]

CHECKIN_CONTENT_TYPE: Final = "application/x-apple-aspen-mdm-checkin"
COMMAND_CONTENT_TYPE: Final = "application/x-apple-aspen-mdm; charset=UTF-8"
PKCS12_PAYLOAD: Final = "com.apple.security.pkcs12"
MAIL_PAYLOAD: Final = "com.apple.mail.managed"

_XML_HEAD: Final = b'<?xml version="1.0" encoding="UTF-8"?>\n'
_FILLED: Final = re.compile(b"<key>(PayloadContent|Password)</key>|<!--|<!\\[CDATA")

PROFILE_ERRORS: Final = "MCProfileErrorDomain"
INSTALLATION_ERRORS: Final = "MCInstallationErrorDomain"
CERTIFICATE_ERRORS: Final = "MCCertificateErrorDomain"
MDM_ERRORS: Final = "MCMDMErrorDomain"
EMAIL_ERRORS: Final = "MCEmailErrorDomain"
COCOA_ERRORS: Final = "NSCocoaErrorDomain"

MALFORMED_PROFILE: Final = 1000
MISSING_FIELD: Final = 1002
BAD_SIGNATURE: Final = 1004
EMPTY_PROFILE: Final = 1005
CANNOT_DECRYPT: Final = 1006
INSTALLATION_FAILURE: Final = 4001
DUPLICATE_UUID: Final = 4002
OUT_OF_SPACE: Final = 640
"""NSFileWriteOutOfSpaceError of Apple's Foundation."""

SMIME_CERTIFICATE_NOT_FOUND: Final = 7003
SMIME_CERTIFICATE_BAD: Final = 7004
INVALID_PASSWORD: Final = 9000
TOO_MANY_CERTIFICATES: Final = 9001
MALFORMED_CERTIFICATE: Final = 9005
NOT_AN_IDENTITY: Final = 9006
NOT_AUTHORIZED: Final = 12007
INVALID_REPLACEMENT: Final = 12009
NOT_MANAGED: Final = 12013
MISSING_IDENTITY: Final = 12016
INVALID_REQUEST_TYPE: Final = 12021
PROFILE_NOT_FOUND: Final = 12075


def parse_dict(data: bytes) -> Plist:
    """Return a property list whose top object is a dictionary.

    Raises:
        PlistError: not a property list, or another top object.

    """
    value = load(data)
    if not isinstance(value, dict):
        raise PlistError(f"expected a dictionary as top object, got {type(value).__name__}")
    return value


def dictionaries(message: Plist, key: str) -> list[Plist]:
    """Return the dictionaries of the array with that key; what else a peer sends there is left out."""
    value = message.get(key)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def parse_payloads(data: bytes) -> list[Plist]:
    """Return a property list whose top object is an array of payload dictionaries.

    Raises:
        PlistError: not a property list, another top object, or something else than dictionaries in it.

    """
    value = load(data)
    if not isinstance(value, list) or not all(isinstance(payload, dict) for payload in value):
        raise PlistError(f"expected an array of payload dictionaries, got {type(value).__name__}")
    return value


def serialize(value: Plist | list[Plist]) -> bytes:
    """Return a property list as XML."""
    return plistlib.dumps(value)


def profile_identifier(delivery_id: str) -> str:
    """Return the PayloadIdentifier of the profile that carries one delivery."""
    return f"www.windowsintune.com.importedpfx.{delivery_id}"


def pkcs12_payload_template(payload_uuid: str, identifier: str, display_name: str) -> bytes:
    """Return the plistTemplate of one certificate: a payload array whose PKCS#12 and password are still missing.

    The connector finds the payload by its PayloadUUID and fills both in.
    """
    payload = {
        "PayloadType": PKCS12_PAYLOAD,
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{identifier}.pkcs12",
        "PayloadUUID": payload_uuid,
        "PayloadDisplayName": display_name,
        "PayloadCertificateFileName": f"{display_name}.pfx",
    }
    return serialize([payload])


def fill_pkcs12_payload(template: bytes, payload_uuid: str, pfx: bytes, password: str) -> bytes:
    """Return the payload array with PKCS#12 and password put into the payload of that PayloadUUID.

    Raises:
        PlistError: the template is not an array of payloads, or holds no such payload.
        ValueError: the password holds a character that XML cannot carry.

    """
    spliced = _spliced(template, payload_uuid, pfx, password)
    if spliced is not None:
        return spliced
    payloads = parse_payloads(template)
    for payload in payloads:
        if payload.get("PayloadUUID") == payload_uuid:
            payload |= {"PayloadContent": pfx, "Password": password}
            return serialize(payloads)
    raise PlistError(f"expected a payload with PayloadUUID {payload_uuid}, got none among {len(payloads)}")


def _spliced(template: bytes, payload_uuid: str, pfx: bytes, password: str) -> bytes | None:
    """Do the same on the text of a template as the service writes it, or return None for any other.

    Reading and writing a property list costs as much as the rest of a request; here the two values go in before the
    end of the one flat dictionary that holds the UUID.
    """
    mark = f"<key>PayloadUUID</key>\n\t\t<string>{payload_uuid}</string>\n".encode()
    plain = password.isascii() and password.isprintable() and not _FILLED.search(template)
    if not plain or template.count(mark) != 1 or not template.startswith(_XML_HEAD) or template.count(b"<dict>") != 1:
        return None
    end = template.index(b"\t</dict>\n")
    content = base64.b64encode(pfx)
    inside = (
        b"\t\t<key>Password</key>\n\t\t<string>", escape(password).encode("ascii"), b"</string>\n",
        b"\t\t<key>PayloadContent</key>\n\t\t<data>", content, b"</data>\n",
    )  # fmt: skip
    return b"".join((template[:end], *inside, template[end:]))


def encrypted_profile(identifier: str, profile_uuid: str, display_name: str, encrypted_payloads: bytes) -> bytes:
    """Return a configuration profile whose payload array is `encrypted_payloads`, DER CMS EnvelopedData."""
    return serialize(
        {
            "PayloadType": "Configuration",
            "PayloadVersion": 1,
            "PayloadIdentifier": identifier,
            "PayloadUUID": profile_uuid,
            "PayloadDisplayName": display_name,
            "PayloadOrganization": "PFX Lab TEST ONLY",
            "IsEncrypted": True,
            "EncryptedPayloadContent": encrypted_payloads,
        }
    )


def error_chain(*errors: tuple[str, int, str]) -> list[Plist]:
    """Return an ErrorChain: the top-level error first, its causes after it."""
    return [
        {"ErrorDomain": domain, "ErrorCode": code, "LocalizedDescription": text, "USEnglishDescription": text}
        for domain, code, text in errors
    ]
