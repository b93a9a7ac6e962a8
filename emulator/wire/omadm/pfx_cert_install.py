"""ClientCertificateInstall/PFXCertInstall: node names, values and status codes of the Windows CSP.

Sources: sources.md#pfx-csp-nodes, sources.md#pfx-csp-rules, sources.md#syncml-statuses.
"""

from typing import Final

from pfxlab.emulator.wire.enums import KeyStorageProviderOption

USER_ROOT: Final = "./User/Vendor/MSFT/ClientCertificateInstall/PFXCertInstall"
DEVICE_ROOT: Final = "./Device/Vendor/MSFT/ClientCertificateInstall/PFXCertInstall"

DEVICE_CONTEXT_ROOT: Final = "./Vendor/MSFT/ClientCertificateInstall/PFXCertInstall"
"""The same nodes as DEVICE_ROOT: a path without user or device means the device (sources.md#pfx-csp-nodes)."""

KEY_LOCATION_TPM: Final = 1
KEY_LOCATION_TPM_ELSE_SOFTWARE: Final = 2
KEY_LOCATION_SOFTWARE: Final = 3
KEY_LOCATION_HELLO: Final = 4

ENCRYPTED_WITH_CERTIFICATE_OF_A_STORE: Final = 2
ENCRYPTED_WITH_MDM_CERTIFICATE: Final = 1
"""PFXCertPasswordEncryptionType: the password node holds base64 CMS for the MDM certificate."""

KEY_LOCATION_OF_PROVIDER: Final = {
    KeyStorageProviderOption.useTpmKspOtherwiseFail: KEY_LOCATION_TPM,
    KeyStorageProviderOption.useTpmKspOtherwiseUseSoftwareKsp: KEY_LOCATION_TPM_ELSE_SOFTWARE,
    KeyStorageProviderOption.useSoftwareKsp: KEY_LOCATION_SOFTWARE,
    KeyStorageProviderOption.usePassportForWorkKspOtherwiseFail: KEY_LOCATION_HELLO,
}
"""A profile's keyStorageProvider as the CSP's KeyLocation; the two number sets differ."""

FORMATS: Final = {
    "KeyLocation": "int",
    "ContainerName": "chr",
    "PFXCertPasswordEncryptionType": "int",
    "PFXCertPassword": "chr",
    "PFXCertPasswordEncryptionStore": "chr",
    "PFXKeyExportable": "bool",
    "PFXCertBlob": "chr",
    "Thumbprint": "chr",
    "Status": "int",
}
"""Leaf nodes below a UniqueID and the SyncML format each is sent with."""

READ_ONLY: Final = frozenset({"Thumbprint", "Status"})

NODE_NOT_FOUND: Final = "0x86000002"
REQUIRES_ATOMIC: Final = "0x86000010"
COMMAND_NOT_ALLOWED: Final = "0x86000011"
NO_IMPERSONATION_TARGET: Final = "0x86000022"

ERROR_INVALID_PASSWORD: Final = 86
ERROR_DISK_FULL: Final = 112
NTE_PERM: Final = -2146893808
CRYPT_E_BAD_ENCODE: Final = -2146885630
NTE_BAD_DATA: Final = -2146893819
NTE_NOT_SUPPORTED: Final = -2146893783
TBS_E_TPM_NOT_FOUND: Final = -2144845809

STATUS_TEXT: Final = {
    ERROR_INVALID_PASSWORD: "ERROR_INVALID_PASSWORD: the decrypted password does not open the PFX",
    ERROR_DISK_FULL: "ERROR_DISK_FULL: the device has no room left",
    NTE_PERM: "NTE_PERM: the device does not allow the key to be stored",
    CRYPT_E_BAD_ENCODE: "CRYPT_E_BAD_ENCODE: the blob is not a PFX, or its certificate cannot be decoded",
    NTE_BAD_DATA: "NTE_BAD_DATA: the password could not be decrypted with this device's key",
    NTE_NOT_SUPPORTED: "NTE_NOT_SUPPORTED: the key storage does not take this key",
    TBS_E_TPM_NOT_FOUND: "TBS_E_TPM_NOT_FOUND: this device has no TPM",
    1401: "the user declined the installation",
    1403: "the agent found no certificate in what it was given",
    1404: "the agent may not install: no screen lock, or certificate access is denied",
}
"""What a non-zero Status says (PfxImportCertStore's GetLastError)."""

AGENT_DECLINED: Final = 1401
AGENT_NOT_FOUND: Final = 1403
AGENT_DENIED: Final = 1404
AGENT_ASKS: Final = 1
"""Status of an Android agent (sources.md#android-statuses); 1 while its user has not answered is our own."""
