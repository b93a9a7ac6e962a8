"""What to do about each reason why a certificate has not arrived, by stable code.

Source of the reasons: sources.md#why-nothing-arrives.
"""

from typing import Final

REMEDIES: Final = {
    "UserUnknown": "Add the user, or import for one of the tenant; names are compared without regard to case.",
    "ImportRefused": "Mend what the journal's reason names and import again.",
    "NothingImported": "Import a certificate for this user.",
    "RecordDeleted": "Import the certificate again.",
    "DeviceUnknown": "Enrol a device for this user, or check its id.",
    "DeviceOfAnother": "Imported certificates follow their user: enrol a device of this user's.",
    "DeviceWithoutUser": "Enrol the device with a user; without one it gets no imported certificate.",
    "DeviceLeaves": "The device is being wiped or retired; enrol it anew.",
    "NoProfile": "Create a PKCS imported certificate profile for the device's platform and assign it.",
    "PurposeMismatch": "Purposes match by name: give the profile the record's purpose, or import with the profile's.",
    "NotAssigned": "Assign the profile to a group of the user's.",
    "NotInGroup": "Add the user, or the device, to a group the profile is assigned to.",
    "Excluded": "Take the user, or the device, out of the excluded group.",
    "NewerStandsIn": "Only the latest certificate of this purpose is delivered; the switch `deliver` decides that.",
    "NotAskedYet": "Wait for the device's next check-in, or ask for one with syncDevice.",
    "UserNotSignedIn": "Let the user sign in on the device: user certificates need the user's session.",
    "NoConnector": "Install and enrol a certificate connector.",
    "ConnectorInactive": "Start the connector, and look at its event log.",
    "ConnectorBusy": "Wait for the connector, or install another one; they share the work.",
    "RetryLater": "Mend what the last attempt failed for; the next one comes by itself.",
    "KeyNotFound": "Give the connector the key that the record names, for its service account.",
    "ProviderUnknown": "Install the key storage provider the record names on the connector, or import with another.",
    "DecryptFailed": "Import again with the public key the connector has: this password is encrypted to another.",
    "PaddingUnsupported": "Import again with OAEP and SHA-256, SHA-384 or SHA-512.",
    "HsmUnavailable": "Bring the HSM back; look at its connection, its slot and its PIN.",
    "PinRefused": "Put the right PIN into the file the connector reads it from.",
    "ConnectorFailed": "Look at the connector's event log, events 2051 and 2052.",
    "NotFetchedYet": "Wait for the device's next check-in, or ask for one with syncDevice.",
    "NotConfirmedYet": "The device has it and has not said how it went; it will with its next check-in.",
    "DeviceBusy": "Unlock the device: it puts off what needs its keys, and comes again by itself.",
    "UserAsked": "Let the device's user answer the agent's notification.",
    "TooManyCertificates": "Export the PFX without its chain: an iPhone takes one certificate and its key.",
    "WrongPassword": "The password does not open the PFX on the device: import with the right one. Older Apple versions"
    " say so of a PFX with AES as well; export with 3DES for them.",
    "EncryptedForAnotherKey": "Ask for the certificate again with syncDevice: the device's key has changed.",
    "NotAPfx": "Import a PKCS#12 file; what was imported is none.",
    "StorageFull": "Make room on the device; syncDevice tries again.",
    "NoTpm": "Choose a key storage provider without TPM in the profile.",
    "KeyStorageRefused": "Choose another key storage provider in the profile, or a key the device's storage takes.",
    "AnotherCertificate": "Import with the thumbprint of the certificate that is in the PFX.",
    "UserDeclined": "Let the user accept; syncDevice asks again.",
    "DeviceDenied": "Set a screen lock, and let the agent use the key store.",
    "DeviceRefused": "Look at the reason the device gave; syncDevice tries again.",
    "BeingRemoved": "It is no longer wanted on the device and goes with its next check-in.",
    "LeftThere": "It stays on the device, though no profile brings it any more; wipe or retire removes it.",
}
"""Stable code → what to do."""
