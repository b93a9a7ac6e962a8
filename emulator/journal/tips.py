"""What to do about a refusal, found by the stable code of its reason."""

from typing import Final

TIPS: Final = {
    "TokenMissing": "Send 'Authorization: Bearer TOKEN', with a token from the lab's authority_url.",
    "TokenWithheld": "Use the lab's proxy (`pfxlab exec`), or add the lab's host to the SDK's allowed hosts.",
    "TokenUnusable": "Request a token from this lab's token endpoint; other authorities' tokens are not accepted.",
    "TokenExpired": "Request a new token before the old one expires, and past the cache if the lab ended it.",
    "TokenRevoked": "Declare the client capability cp1 and answer the claims challenge: a new token, past the cache.",
    "TenantMissing": "Use the tenant's id or domain in the authority; /common and /organizations are for users.",
    "UserBlocked": "Allow the user's sign-in again: accountEnabled over Graph, or `pfxlab world user` with sign_in.",
    "PasswordExpired": "Sign the user in on the sign-in page, which asks for a new password.",
    "SecondFactorRequired": "Sign the user in by device code or in a browser: a password alone shows no second factor.",
    "BlockedByPolicy": "Exempt the user from the policy, or sign in with a client secret or certificate.",
    "UserUnlicensed": "Give the user a licence: `pfxlab world user` or the configuration file, licence true.",
    "InstanceUnknown": "Use the lab's authority_url, or Microsoft's own host names through the lab's proxy.",
    "ApplicationRetired": "Register an application of your own, or use 14d82eec-204b-4c2f-b7e8-296a70dab67e.",
    "AssertionInvalid": "Sign for this token endpoint with a certificate of the application; dates count seconds.",
    "MetadataServiceMissing": "Leave managed identities out of the credential chain, or let it go on to the next.",
    "AudienceWrong": "Ask for a token for the Graph host that is called: each cloud takes its own only.",
    "WrongHost": "Ask each host for what it serves: sign-in, Graph; the lab's own pages at the lab's own address.",
    "ScopeMissing": "Grant the application one of the named permissions, or use the ready file's `application`.",
    "RoleMissing": "Sign in as a user with the Intune Administrator role, or use an application token.",
    "VersionMissing": "Start the path with /beta; imported certificates exist in beta only.",
    "SegmentUnknown": "Check the spelling of the path and its version; imported certificates exist in beta only.",
    "RouteNotEmulated": "The path is right, but the lab lacks this route of Graph: leave the call out here.",
    "MethodUnknown": "Imported certificates support GET, POST, PATCH and DELETE.",
    "BodyUnreadable": "Send one JSON object as UTF-8 with Content-Type: application/json.",
    "BodyTooLarge": "Check what is sent: a record with its PFX takes a few kilobytes.",
    "PropertyUnknown": "Leave the property out; keyAlgorithm in particular is not part of the type.",
    "ValueInvalid": "Send enums by name, dates with a UTC offset and binary data as base64.",
    "TypeUnknown": "Send an @odata.type in its own case, such as #microsoft.graph.iosImportedPFXCertificateProfile.",
    "PropertyMissing": "Send thumbprint, userPrincipalName, both dates and both encryptedPfx… properties.",
    "UserUnknown": "Import for a user of the lab: the ready file's mail_user.upn, or add one.",
    "Duplicate": "Change an existing record with PATCH; POST only creates records.",
    "EntityUnknown": "Use the record's key: the user's id without dashes, a dash, and the thumbprint.",
    "PaddingRetired": "Use OAEP with SHA-256, SHA-384 or SHA-512.",
    "ThumbprintForm": "Send the SHA-1 of the certificate as 40 hexadecimal digits, or set the switch odd_thumbprint.",
    "IdentityChanged": "Delete the record and import again: thumbprint and userPrincipalName form its id.",
    "FilterInvalid": "Put strings in single quotes, double a quote inside them, and use filterable properties only.",
    "OptionInvalid": "Check the value of the query option.",
    "AssignmentInvalid": "Name each group at most once, by its id from /groups.",
    "BatchInvalid": "Send at most 20 requests, each with its own id; POST, PATCH and PUT with body and Content-Type.",
    "Throttled": "Wait as long as Retry-After says, then retry. The switch `throttling` turns this off.",
    "StorageFull": "Free space on the disk of the lab's data folder; nothing acknowledged is lost.",
    "Quirk": "The real service does the same; the switch named in the reason turns this off.",
    "Changed": "Read the entity again and send the change with its current ETag.",
    "FaultInjected": "A planned fault caused this failure; `GET /lab/v1/faults` lists all planned faults.",
    "AddressTooLong": "Shorten the query, or split the request in several.",
    "BadEncoding": "Encode the body as Content-Encoding says, or leave the header out.",
    "SlowBody": "Send the body right after the head, all bytes that Content-Length announces.",
    "BadHost": "Send the host and port of the address in the Host header.",
    "BadMessage": "Send HTTP/1.1 as RFC 9112 has it; bytes outside ASCII belong percent-encoded in an address.",
    "ClientGone": "Look at the client's timeout; what was changed by this request stays changed.",
    "Defect": "This is a bug in the lab; its log has the traceback.",
}
"""Stable reason code → tip."""


def tip(rule: str) -> str | None:
    """Return what to do about a refusal, or None."""
    return TIPS.get(rule)
