"""The profile an Apple device enrols with: trust in the server, an identity by SCEP, the MDM payload that uses it.

Sources: sources.md#apple-enrolment, sources.md#apple-commands (access rights), sources.md#apple-profiles.
"""

from dataclasses import dataclass
from typing import Final

from pfxlab.emulator.wire.apple import mdm
from pfxlab.emulator.wire.apple.mdm import Plist
from pfxlab.emulator.wire.apple.plist import PlistError

CONTENT_TYPE: Final = "application/x-apple-aspen-config"
IDENTIFIER: Final = "Microsoft.Profiles.MDM"
TOPIC: Final = "com.apple.mgmt.External.pfxlab"

MDM_PAYLOAD: Final = "com.apple.mdm"
SCEP_PAYLOAD: Final = "com.apple.security.scep"
ROOT_PAYLOAD: Final = "com.apple.security.root"

INSPECT_PROFILES: Final = 1
CHANGE_PROFILES: Final = 2
ALL_RIGHTS: Final = 8191

_SIGN_AND_ENCRYPT: Final = 5


@dataclass(frozen=True, repr=False)
class EnrollmentProfile:
    """What the profile says. `common_name` goes into the certificate request, `challenge` proves who asked for it."""

    scep_url: str
    challenge: str
    common_name: str
    checkin_url: str
    server_url: str
    root: bytes
    uuid: str
    sign_message: bool = False
    topic: str = TOPIC
    access_rights: int = ALL_RIGHTS


def serialize(profile: EnrollmentProfile) -> bytes:
    """Return the profile as a property list, not signed yet."""

    def payload(kind: str, name: str, **content: object) -> Plist:
        head = {"PayloadType": kind, "PayloadVersion": 1, "PayloadIdentifier": f"{IDENTIFIER}.{name}"}
        return {**head, "PayloadUUID": f"{profile.uuid}-{name}", "PayloadDisplayName": name, **content}

    scep = {
        "URL": profile.scep_url,
        "Name": "PFX Lab MDM Device CA",
        "Subject": [[["CN", profile.common_name]]],
        "Challenge": profile.challenge,
        "Keysize": 2048,
        "Key Type": "RSA",
        "Key Usage": _SIGN_AND_ENCRYPT,
    }
    management: dict[str, object] = {
        "IdentityCertificateUUID": f"{profile.uuid}-scep",
        "Topic": profile.topic,
        "ServerURL": profile.server_url,
        "CheckInURL": profile.checkin_url,
        "SignMessage": profile.sign_message,
        "AccessRights": profile.access_rights,
        "CheckOutWhenRemoved": True,
    }
    return mdm.serialize(
        {
            "PayloadType": "Configuration",
            "PayloadVersion": 1,
            "PayloadIdentifier": IDENTIFIER,
            "PayloadUUID": profile.uuid,
            "PayloadDisplayName": "PFX Lab management TEST ONLY",
            "PayloadOrganization": "PFX Lab TEST ONLY",
            "PayloadContent": [
                payload(ROOT_PAYLOAD, "root", PayloadContent=profile.root),
                payload(SCEP_PAYLOAD, "scep", PayloadContent=scep),
                payload(MDM_PAYLOAD, "mdm", **management),
            ],
        }
    )


def is_enrollment(profile: Plist) -> bool:
    """Return whether a profile has an MDM payload."""
    content = profile.get("PayloadContent")
    return isinstance(content, list) and any(
        isinstance(payload, dict) and payload.get("PayloadType") == MDM_PAYLOAD for payload in content
    )


def read(profile: Plist) -> EnrollmentProfile:
    """Return what an enrolment profile says.

    Raises:
        PlistError: a payload or key is missing, of the wrong type, or the MDM payload names another identity.

    """
    try:
        payloads = {payload["PayloadType"]: payload for payload in profile["PayloadContent"]}
        management, scep, root = payloads[MDM_PAYLOAD], payloads[SCEP_PAYLOAD], payloads[ROOT_PAYLOAD]
        if management["IdentityCertificateUUID"] != scep["PayloadUUID"]:
            raise PlistError("expected IdentityCertificateUUID to name the identity of the same profile")
        asked = scep["PayloadContent"]
        found = EnrollmentProfile(
            scep_url=asked["URL"],
            challenge=asked["Challenge"],
            common_name=asked["Subject"][0][0][1],
            checkin_url=management.get("CheckInURL", management["ServerURL"]),
            server_url=management["ServerURL"],
            root=root["PayloadContent"],
            uuid=profile["PayloadUUID"],
            sign_message=management.get("SignMessage", False),
            topic=management["Topic"],
            access_rights=management["AccessRights"],
        )
    except (KeyError, TypeError, IndexError) as error:
        raise PlistError(
            f"expected an enrolment profile with root, SCEP and MDM payload, got none ({error!r})"
        ) from None
    texts = (found.scep_url, found.challenge, found.common_name, found.checkin_url, found.server_url, found.topic)
    if not all(isinstance(text, str) for text in texts) or not isinstance(found.root, bytes):
        raise PlistError("expected texts and a certificate in the enrolment profile, got other types")
    if not isinstance(found.access_rights, int) or found.access_rights <= 0:
        raise PlistError(f"expected AccessRights above 0, got {found.access_rights!r}")
    return found
