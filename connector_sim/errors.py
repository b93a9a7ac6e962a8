"""What can go wrong on the customer's server; the class says whose fault, `code` stays the same over versions."""

from collections.abc import Mapping
from typing import ClassVar

from pfxlab.emulator.wire.files.damaged import Damaged


class ConnectorError(Exception):
    """Base of every refusal in this package. No message holds key material or a password."""

    code: ClassVar[str] = "ConnectorError"


class KeyStoreError(ConnectorError):
    """The key store cannot carry out the request."""

    code = "KeyStoreError"


class FileDamaged(Damaged, KeyStoreError):
    """A file of one key, or of the connector's identity, is damaged: what depends on it fails, all else goes on."""


class KeyNotFound(KeyStoreError):
    """The provider has no key of that name."""

    code = "KeyNotFound"


class KeyExists(KeyStoreError):
    """A key of that name is there already and is not overwritten."""

    code = "KeyExists"


class NotExportable(KeyStoreError):
    """The key was made without leave to export it, or lives in an HSM; that cannot be changed later."""

    code = "NotExportable"


class HsmUnavailable(KeyStoreError):
    """The token does not answer: removed, locked, or its module fails."""

    code = "HsmUnavailable"


class PinRefused(HsmUnavailable):
    """The token refuses the PIN, or has locked itself; asking again would lock it."""

    code = "PinRefused"


class ProviderUnknown(KeyStoreError):
    """No key storage provider of that name is installed."""

    code = "ProviderUnknown"


class DecryptFailed(KeyStoreError):
    """The key does not decrypt the ciphertext; the reason is withheld, so that it is no padding oracle."""

    code = "DecryptFailed"


class PaddingUnsupported(ConnectorError):
    """The record's padding scheme is one that connectors no longer process."""

    code = "PaddingUnsupported"


class PfxProblem(ConnectorError):
    """A PFX file cannot be imported. `remedy` says what to do."""

    code = "PfxProblem"

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message} {remedy}")
        self.message, self.remedy = message, remedy


class GraphRefused(ConnectorError):
    """Graph or Entra ID answered with an error. `status` 0: no answer came; the request may have been carried out."""

    code = "GraphRefused"

    def __init__(self, message: str, status: int = 0, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})


class ServiceRefused(ConnectorError):
    """The Intune service refused the connector; `reason` is the service's code, empty when it gave none."""

    code = "ServiceRefused"

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason
