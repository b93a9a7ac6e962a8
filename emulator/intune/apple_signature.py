"""Apple's Mdm-Signature: whether the message of a device is from whom it says, and comes for the first time.

Source: sources.md#apple-signed-messages.
"""

import base64
import hashlib
from datetime import datetime, timedelta
from typing import Final

from aiohttp import web
from cryptography import x509

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.edge import CLOUD, client_certificate
from pfxlab.emulator.intune.enrollment import refused
from pfxlab.emulator.wire.signed_data import SignatureProblem, verify

HEADER: Final = "Mdm-Signature"
_REMEMBERED: Final = timedelta(hours=1)


class Replayed(SignatureProblem):
    """A signature that was there before."""


class SeenSignatures:
    """The signatures of the last hour of lab time, by their digests."""

    def __init__(self) -> None:
        self._seen: dict[bytes, datetime] = {}

    def check(self, signature: bytes, now: datetime) -> None:
        """Remember a signature.

        Raises:
            Replayed: it was there within the hour.

        """
        self._seen = {digest: at for digest, at in self._seen.items() if abs(now - at) < _REMEMBERED}
        digest = hashlib.sha256(signature).digest()
        if digest in self._seen:
            raise Replayed("expected a new signature, got one that was there within the hour")
        self._seen[digest] = now


def _seen_of(cloud: Cloud) -> SeenSignatures:
    return cloud.component(SeenSignatures, SeenSignatures)


def identity_of(request: web.Request, data: bytes) -> x509.Certificate | None:
    """Return the certificate that a message is from, None when it proves none.

    That is the connection's. A signature beside it must be of the same; with the switch `sign_message` at `alone` one
    that comes without a certificate of the connection takes its place.

    Raises:
        Replayed: the signature was there before.

    """
    cloud, shown, header = request.app[CLOUD], client_certificate(request), request.headers.get(HEADER)
    if header is None:
        return shown
    try:
        signed = verify(base64.b64decode(header, validate=True), data)
        if shown is None and cloud.config.switches.sign_message != "alone":
            raise SignatureProblem("expected the identity of the signer in TLS, got a signature alone")
        if shown is not None and shown != signed.signer:
            raise SignatureProblem("expected the signature of the identity shown in TLS, got another's")
        _seen_of(cloud).check(signed.signature, cloud.clock.now())
    except Replayed as error:
        refused(cloud, "Mdm-Signature refused", str(error))
        raise
    except ValueError as error:
        refused(cloud, "Mdm-Signature refused", str(error))
        return None
    return signed.signer
