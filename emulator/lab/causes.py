"""What to do about each reason why a certificate has not arrived, by stable code.

The reasons are those of: sources.md#why-nothing-arrives.
"""

from typing import Final

REMEDIES: Final = {
    "UserUnknown": "Add the user, or import for an existing user. Case does not matter in names.",
    "ImportRefused": "Fix what the journal's reason names, then import again.",
    "NothingImported": "Import a certificate for this user.",
    "RecordDeleted": "Import the certificate again.",
    "DeviceUnknown": "Enrol a device for this user, or check its id.",
    "DeviceOfAnother": "Enrol a device for this user: imported certificates go to their user's devices only.",
    "DeviceWithoutUser": "Enrol the device with a user: a device without one gets no imported certificates.",
    "DeviceLeaves": "Enrol the device again: it is being wiped or retired.",
    "NoProfile": "Create a PKCS imported certificate profile for the device's platform and assign it.",
    "PurposeMismatch": "Give the profile the record's purpose, or import with the profile's purpose.",
    "NotAssigned": "Assign the profile to one of the user's groups.",
    "NotInGroup": "Add the user or the device to a group that the profile is assigned to.",
    "Excluded": "Remove the user or the device from the excluded group.",
    "NewerStandsIn": "Set the switch `deliver` if older certificates are needed; by default the latest is delivered.",
    "NotAskedYet": "Wait for the device's next check-in, or trigger one with syncDevice.",
    "UserNotSignedIn": "Have the user sign in on the device: user certificates need the user's session.",
    "NoConnector": "Install and enrol a certificate connector.",
    "ConnectorInactive": "Start the connector and check its event log.",
    "ConnectorBusy": "Wait for the connector, or add another one; connectors share the work.",
    "RetryLater": "Fix the reason of the last failure; the connector retries automatically.",
    "KeyNotFound": "Install the key that the record names where the connector's service account can use it.",
    "ProviderUnknown": "Install the record's key storage provider on the connector's server, or import with another.",
    "DecryptFailed": "Import again with the connector's public key: this password is encrypted with another key.",
    "PaddingUnsupported": "Import again with OAEP and SHA-256, SHA-384 or SHA-512.",
    "HsmUnavailable": "Restore the HSM: check its connection, slot and PIN.",
    "PinRefused": "Correct the PIN in the connector's PIN file.",
    "ConnectorFailed": "Check the connector's event log for events 2051 and 2052.",
    "DeviceDamaged": "Repair the device's folder as the message says: it cannot check in; others can.",
    "ConnectorDamaged": "Repair the connector's folder as the message says, then start it again.",
    "NotFetchedYet": "Wait for the device's next check-in, or trigger one with syncDevice.",
    "NotConfirmedYet": "Wait for the device's next check-in: it has the certificate but has not reported back.",
    "DeviceBusy": "Unlock the device: while locked it cannot use its keys, and it retries by itself.",
    "UserAsked": "Have the user respond to the notification on the device.",
    "TooManyCertificates": "Export the PFX without its chain: iOS accepts one certificate and its key.",
    "WrongPassword": "Import with the right password: this one does not open the PFX on the device. Older Apple"
    " versions report the same for a PFX with AES; export with 3DES for them.",
    "EncryptedForAnotherKey": "Request the certificate again with syncDevice: the device's key has changed.",
    "NotAPfx": "Import a PKCS#12 file whose certificate a device can read: the imported data is not one.",
    "StorageFull": "Free storage on the device, then retry with syncDevice.",
    "NoTpm": "In the profile, choose a key storage provider that needs no TPM.",
    "KeyStorageRefused": "Choose another key storage provider in the profile, or a key that the device supports.",
    "AnotherCertificate": "Import with the thumbprint of the certificate in the PFX.",
    "UserDeclined": "Have the user accept; syncDevice prompts again.",
    "DeviceDenied": "Set a screen lock on the device, and let the agent use the key store.",
    "DeviceRefused": "Fix the reason that the device reported, then retry with syncDevice.",
    "BeingRemoved": "Assign a profile again to keep it: it was withdrawn, and the next check-in removes it.",
    "LeftThere": "Wipe or retire the device to remove it: it stays although no profile delivers it any more.",
}
"""Stable code → what to do."""
