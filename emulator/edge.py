"""What every HTTP component shares: its cloud, our address as the caller wrote it, forms, the client certificate."""

from asyncio.trsock import TransportSocket
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage
from cryptography import x509
from multidict import MultiDict

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.journal.exchanges import Exchange
from pfxlab.emulator.wire.text import whole_text

_MOST_FIELDS: Final = 1000

CLOUD = web.AppKey("cloud", Cloud)
ADDRESS = web.AppKey("address", str)
"""The loopback address that the lab listens on, as URLs have it."""

OBSERVER: "web.AppKey[Callable[[Exchange], None]]" = web.AppKey("observer")
"""Hears of every request but the lab's own, where somebody wants to (lab/observer.py)."""

CONNECTIONS: "web.AppKey[dict[int, TransportSocket]]" = web.AppKey("connections")
"""The sockets that brought a request, by file descriptor: aiohttp forgets a connection when it begins to close it."""


async def read_form(request: web.Request) -> MultiDict[str]:
    """Return the text fields of a form; a body that is no form, or one of more fields than any page has, has none.

    Text is UTF-8, whatever a charset says (URL Standard, section 5.1); other bytes become U+FFFD.

    Raises:
        web.HTTPRequestEntityTooLarge: the body is larger than the lab takes.

    """
    if request.content_type == "application/x-www-form-urlencoded":
        text = (await request.read()).decode("utf-8", "replace")
        # More fields than any page has would hold up the loop for seconds.
        few = text.count("&") < _MOST_FIELDS
        return MultiDict(parse_qsl(text, keep_blank_values=True, encoding="utf-8", errors="replace") if few else ())
    try:
        form = await request.post()
    except (ValueError, AssertionError, LookupError, RuntimeError, BadHttpMessage):
        return MultiDict()
    fields = [(name, value) for name, value in form.items() if isinstance(value, str)]
    return MultiDict((name, whole_text(value)) for name, value in fields)


def origin_of(request: web.Request) -> str:
    """Return this server as the client addressed it: `https://host:port`."""
    return f"https://{request.host}"


def client_certificate(request: web.Request) -> x509.Certificate | None:
    """Return the certificate the client proved possession of in the TLS handshake, or None."""
    transport = request.transport
    tls = None if transport is None else transport.get_extra_info("ssl_object")
    der = None if tls is None else tls.getpeercert(binary_form=True)
    return None if not der else x509.load_der_x509_certificate(der)
