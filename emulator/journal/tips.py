"""What to do about a refusal, found by the stable code of its reason."""

from typing import Final

TIPS: Final = {
    "TokenMissing": "Send 'Authorization: Bearer …' with a token from the lab's authority_url.",
    "TokenUnusable": "Ask this lab's own token endpoint; tokens of another authority or an earlier lab do not fit.",
    "TokenExpired": "Ask for a new token before the old one ends; the lab's clock may have been moved.",
    "ScopeMissing": "Grant the application one of the named permissions, or use the ready file's `application`.",
    "RoleMissing": "Sign in as a user with the Intune Administrator role, or use an application token.",
    "VersionMissing": "Begin the path with /beta; imported certificates exist in beta only.",
    "SegmentUnknown": "Check the spelling of the path and its version; imported certificates exist in beta only.",
    "MethodUnknown": "Imported certificates know GET, POST, PATCH and DELETE.",
    "BodyUnreadable": "Send one JSON object as UTF-8 with Content-Type: application/json.",
    "BodyTooLarge": "A record with its PFX has a few kilobytes; check what is sent.",
    "PropertyUnknown": "Leave the property out; keyAlgorithm in particular is not part of the type.",
    "ValueInvalid": "Enums by name, dates with an offset, binary as base64.",
    "TypeUnknown": "Give the @odata.type of an imported-PFX profile, with its #microsoft.graph prefix.",
    "PropertyMissing": "A record needs thumbprint, userPrincipalName, both dates, and both encryptedPfx… properties.",
    "UserUnknown": "Import for a user of the lab: the ready file's mail_user.upn, or add one.",
    "Duplicate": "PATCH changes an existing record, POST never does.",
    "EntityUnknown": "A record's key is the user's id without dashes, a dash, and the thumbprint.",
    "PaddingRetired": "Use OAEP with SHA-256, SHA-384 or SHA-512.",
    "IdentityChanged": "thumbprint and userPrincipalName make the record's id: delete it and import anew.",
    "FilterInvalid": "Strings in single quotes, a quote in them doubled, and only properties that can be filtered.",
    "OptionInvalid": "Check the value of the query option.",
    "AssignmentInvalid": "Each group at most once, with its id from /groups.",
    "BatchInvalid": "At most twenty requests, each with its own id, and a Content-Type beside every body.",
    "Throttled": "Wait as Retry-After says, then repeat; the lab throttles since its switch says so.",
    "StorageFull": "Make room on the disk of the lab's data folder; what was answered before is safe.",
    "Quirk": "The real service answers so; the switch named in the reason turns it off.",
    "Changed": "Read the entity again and send the change with its present ETag.",
    "FaultInjected": "The lab was asked to fail here; `GET /lab/v1/faults` lists what is planned.",
    "Defect": "This is a mistake of the lab; its log has the traceback.",
}
"""Stable reason code → tip."""


def tip(rule: str) -> str | None:
    """Return what to do about a refusal, or None."""
    return TIPS.get(rule)
