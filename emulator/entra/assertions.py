"""Client assertions: a JWT that an application signs with its certificate in place of a secret.

Source: sources.md#client-assertions. Algorithms RS256 and PS256; the certificate is named by x5t or x5t#S256; some
clients leave the base64 padding on.
"""

import base64
import json
import re
from typing import Any, Final

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.emulator.entra import errors
from pfxlab.emulator.store.directory import App

_SKEW: Final = 300
"""Seconds that a client's clock may be ahead."""

_LONGEST: Final = 64 * 1024
"""Characters of an assertion, which may carry its signer's chain (x5c)."""

_LAST_MOMENT: Final = 253_402_300_799
"""The end of the year 9999."""

_DIGITS: Final = re.compile(r"[0-9]{1,12}")

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def _decode(text: str) -> bytes:
    plain = text.rstrip("=")
    return base64.urlsafe_b64decode(plain + "=" * (-len(plain) % 4))


def _header(assertion: str) -> dict[str, Any]:
    try:
        header = json.loads(_decode(assertion.partition(".")[0]))
    except (ValueError, RecursionError):
        raise errors.bad_assertion("the client assertion is not a JWT") from None
    if not isinstance(header, dict):
        raise errors.bad_assertion("the client assertion's header is not an object")
    return header


def _names(certificate: x509.Certificate) -> set[bytes]:
    return {certificate.fingerprint(hashes.SHA1()), certificate.fingerprint(hashes.SHA256())}  # noqa: S303 - names


def _certificate(app: App, header: dict[str, Any]) -> x509.Certificate:
    given = {name: str(header[name]) for name in ("x5t", "x5t#S256") if name in header}
    try:
        wanted = {_decode(value) for value in given.values()}
    except ValueError:
        raise errors.bad_assertion("x5t is not base64url") from None
    for pem in app.certificates:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        if wanted and wanted <= _names(certificate):
            return certificate
    raise errors.bad_assertion(f"no certificate of the application matches {' and '.join(given) or 'the header'}")


def verify(assertion: str, app: App, audiences: list[str], now: float) -> None:
    """Let an assertion pass that one of the application's certificates signed, for this endpoint and moment.

    Raises:
        EntraError: AADSTS700027 with the reason for the journal.

    """
    if len(assertion) > _LONGEST:
        raise errors.bad_assertion(
            f"expected a client assertion of at most {_LONGEST} characters, got {len(assertion)}"
        )
    header = _header(assertion)
    key = _certificate(app, header).public_key()
    if header.get("alg") not in ("RS256", "PS256") or not isinstance(key, rsa.RSAPublicKey):
        raise errors.bad_assertion(f"expected RS256 or PS256, got {header.get('alg')!r:.40}")
    unpadded = ".".join(part.rstrip("=") for part in assertion.split("."))
    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "require": ["exp", "iss", "sub"]}
    try:
        claims = jwt.decode(unpadded, key, algorithms=[header["alg"]], audience=audiences, options=options)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise errors.bad_assertion(f"{type(error).__name__}: {error}") from None
    if claims["iss"] != app.id or claims["sub"] != app.id:
        raise errors.bad_assertion("iss and sub must be the application's id")
    _moment(claims, "iat")
    if not _moment(claims, "nbf") - _SKEW <= now < _moment(claims, "exp"):
        raise errors.bad_assertion("the assertion is not valid at this moment")


def _moment(claims: dict[str, Any], name: str) -> float:
    """Return a NumericDate (RFC 7519, section 2) as seconds since 1970, 0 without one.

    A text of digits is taken too: MSAL.NET writes it.

    Raises:
        EntraError: neither of them, or no moment before the year 10000.

    """
    value = claims.get(name, 0)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= _LAST_MOMENT:
        raise errors.bad_assertion(f"expected {name} as seconds since 1970, got {type(value).__name__}")
    return float(value)
