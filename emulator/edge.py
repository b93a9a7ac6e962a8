"""What every HTTP component shares: the cloud behind it, our address as the caller wrote it, the client certificate."""

from collections.abc import Callable

from aiohttp import web
from cryptography import x509

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.journal.exchanges import Exchange

CLOUD = web.AppKey("cloud", Cloud)
OBSERVER: "web.AppKey[Callable[[Exchange], None]]" = web.AppKey("observer")
"""Hears of every request but the lab's own, where somebody wants to (lab/observer.py)."""


def origin_of(request: web.Request) -> str:
    """Return this server as the client addressed it: `https://host:port`."""
    return f"https://{request.host}"


def client_certificate(request: web.Request) -> x509.Certificate | None:
    """Return the certificate the client proved possession of in the TLS handshake, or None."""
    transport = request.transport
    tls = None if transport is None else transport.get_extra_info("ssl_object")
    der = None if tls is None else tls.getpeercert(binary_form=True)
    return None if not der else x509.load_der_x509_certificate(der)
