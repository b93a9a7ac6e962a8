"""Kinds of damage to a request. Each is a function of a request and a seeded generator; it leaves secrets in their place."""

import base64
import contextlib
import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any
from urllib.parse import quote

from tests.attack.recording import Recorded

ODD_BYTES = (b"\xff", b"\x00", b"\xed\xa0\x80", b"\xc2\xb2", b"\\ud800", b"%00", b"%ff", b"%ED%A0%80", b"'", b'"<&]]>')
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 2**63, 10**400, 1e308, float("inf"), float("nan"), "", "\x00", "\ud800", "\ufffe", [], {},
    [[]], {"a": {}}, "A" * 70_000, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.9999999Z", "\N{SUPERSCRIPT TWO}",
)  # fmt: skip
CHARSETS = ("hex", "unicode_escape", "utf-16", "utf-7", "undefined", "punycode", "rot13", "nonsense", "idna", "\xff")
CODINGS = ("gzip", "deflate", "br", "zstd", "identity, gzip", "\xff")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND")


@dataclass(frozen=True)
class Sent:
    """What goes on the wire: the bytes of a request, and after how many of them its client goes away, if it does."""

    data: bytes
    gone_after: int | None = None


Damage = Callable[[Recorded, Random], Recorded]


def _place(body: bytes, random: Random) -> int:
    return random.randrange(len(body) + 1)


def changed_byte(request: Recorded, random: Random) -> Recorded:
    """Change some bytes."""
    body = bytearray(request.body)
    for _ in range(min(len(body), random.choice((1, 1, 3, 20)))):
        body[random.randrange(len(body))] = random.randrange(256)
    return replace(request, body=bytes(body))


def cut(request: Recorded, random: Random) -> Recorded:
    """Cut the body off."""
    return replace(request, body=request.body[: _place(request.body, random)])


def inserted(request: Recorded, random: Random) -> Recorded:
    """Insert odd bytes."""
    at = _place(request.body, random)
    return replace(request, body=request.body[:at] + random.choice(ODD_BYTES) + request.body[at:])


def junk(request: Recorded, random: Random) -> Recorded:
    """Send something else."""
    short = random.choice(
        (b"", b"null", b"[]", b"{}", b"0", b"\x00" * 9, b"<a/>", b"[" * 50_000, b"<a>" * 20_000, b"x" * 2_000_000)
    )
    return replace(request, body=short or random.randbytes(40))


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += _places(part, (*path, key))
    return found


def odd_value(request: Recorded, random: Random) -> Recorded:
    """Put an odd value in place of one in JSON or in a form, or add a property."""
    odd = random.choice(ODD_VALUES)
    try:
        whole = json.loads(request.body)
    except (ValueError, RecursionError):
        raw = "A" * 999 if not isinstance(odd, str) else odd
        written = quote(raw.encode("utf-8", "surrogatepass")).encode()
        fields = request.body.split(b"&")
        at = random.randrange(len(fields))
        fields[at] = fields[at].partition(b"=")[0] + b"=" + written
        return replace(request, body=b"&".join(fields))
    path = random.choice(_places(whole))
    if not path:
        return replace(request, body=json.dumps(odd).encode())
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = odd
    if isinstance(inner, dict) and random.random() < 0.2:
        inner["odd"] = odd
    return replace(request, body=json.dumps(whole).encode())


def odd_xml(request: Recorded, random: Random) -> Recorded:
    """Change an XML document's encoding, an element's name, or its text, or declare an entity."""
    body, kind = request.body, random.randrange(4)
    if kind == 0:
        body = re.sub(rb"^(<\?xml[^>]*\?>)?", b'<?xml version="1.0" encoding="%s"?>'
                      % random.choice(CHARSETS).encode(), body, count=1)  # fmt: skip
    elif kind == 1:
        body = re.sub(rb"^(<\?xml[^>]*\?>)?", b'<!DOCTYPE a [<!ENTITY b "c">]>', body, count=1)
    elif names := sorted(set(re.findall(rb"<([A-Za-z:]+)", body))):
        name = re.escape(random.choice(names))
        if kind == 2:
            body = re.sub(rb"(</?)" + name + rb"\b", rb"\1odd", body)
        else:
            text = random.choice((b"", b"\xc2\xb2", b"9" * 5000, b"-", b"NaN", b"<![CDATA[]]>", b"&#1;", b"<x/>"))
            body = re.sub(rb"(<" + name + rb"[^>/]*>)[^<]*", rb"\g<1>" + text, body)
    return replace(request, body=body)


def _with(request: Recorded, name: str, value: str) -> Recorded:
    kept = tuple((one, text) for one, text in request.headers if one.lower() != name.lower())
    return replace(request, headers=(*kept, (name, value)))


def odd_der(request: Recorded, random: Random) -> Recorded:
    """Change the structure of DER: of a base64 text in the body, such as a certification request, or of the body."""
    found = list(re.finditer(rb"[A-Za-z0-9+/]{100,}={0,2}", request.body))
    if not found:
        return replace(request, body=_odd_structure(request.body, random))
    one = random.choice(found)
    with contextlib.suppress(ValueError):
        odd = base64.b64encode(_odd_structure(base64.b64decode(one[0]), random))
        return replace(request, body=request.body[: one.start()] + odd + request.body[one.end() :])
    return request


def _odd_structure(der: bytes, random: Random) -> bytes:
    at = random.randrange(min(len(der), 120) + 1)
    tag = bytes([random.choice((0x00, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x17, 0x30, 0x31, 0x80, 0xA0, 0xFF))])
    more = random.choice(
        (tag, b"\x30\x80" * random.choice((1, 500)), b"\x02\x84\xff\xff\xff\xff", b"\x03\x01\x09", b"")
    )
    return der[:at] + more + der[at + random.choice((0, 1, 1, 2)) :]


def repeated(request: Recorded, random: Random) -> Recorded:
    """Send a header, a query parameter, a form field or a JSON property twice, once with an odd value."""
    kind, odd = random.randrange(3), random.choice(("", "\xff", "0", "A" * 5000))
    if kind == 0 and request.headers:
        name, _ = random.choice(request.headers)
        return replace(request, headers=(*request.headers, (name, odd)))
    if kind == 1 and "?" in request.path:
        path, _, query = request.path.partition("?")
        name = query.partition("=")[0]
        return replace(request, path=f"{path}?{query}&{name}={quote(odd)}")
    if request.body.startswith(b"{"):
        name = (re.findall(rb'"([^"]*)":', request.body) or [b""])[0]
        return replace(request, body=b'{"%s": %s, ' % (name, json.dumps(odd).encode()) + request.body[1:])
    return replace(request, body=request.body + b"&" + request.body)


def charset(request: Recorded, random: Random) -> Recorded:
    """Name a charset or a kind of content that the body has not."""
    kinds = ("application/json", "application/x-www-form-urlencoded", "text/xml", "multipart/form-data", "\xff", "")
    named = dict(request.headers).get("Content-Type", random.choice(kinds))
    kind = random.choice((named, named, random.choice(kinds)))
    return _with(request, "Content-Type", f"{kind}; charset={random.choice(CHARSETS)}")


def coding(request: Recorded, random: Random) -> Recorded:
    """Name a Content-Encoding, true or not, or one that breaks off."""
    name = random.choice(CODINGS)
    data = gzip.compress(request.body) if random.random() < 0.5 else request.body
    if random.random() < 0.3:
        data = data[: len(data) // 2]
    return _with(replace(request, body=data), "Content-Encoding", name)


def odd_header(request: Recorded, random: Random) -> Recorded:
    """Send an odd header."""
    name = random.choice(("Host", "Authorization", "User-Agent", "Cookie", "client-request-id", "If-Match", "Accept",
                          "ConsistencyLevel", "Prefer", "Range", "Expect", "X-Forwarded-Host", "Upgrade",
                          "Last-Event-ID", "Origin", "Accept-Language", "traceparent"))  # fmt: skip
    value = random.choice(("\xff\xfe", "\xed\xa0\x80", "", "[::1", "a b", "Bearer W10.W10.W10", "Bearer \xff.\xff.",
                           "Basic Og==", "\xc2\xb2", "0", "-1", "*", "bytes=9-1", "A" * 5000, ";=,", '"'))  # fmt: skip
    return _with(request, name, value)


def odd_address(request: Recorded, random: Random) -> Recorded:
    """Change a part of the path or the query."""
    odd = random.choice(("%00", "%ff", "%ED%A0%80", "..", "%2e%2e%2f", "'", "%27%27", "%", "\xb2", "()", "(null)", "A" * 3000,
                         "%C2%B2", "-1", "1e400", "9" * 400, "NaN", "*", "$count", "?", ""))  # fmt: skip
    pieces = re.split(r"([/?&=()])", request.path)
    pieces[random.randrange(len(pieces))] = odd
    return replace(request, path="/" + "".join(pieces).lstrip("/").replace(" ", "%20"))


def odd_method(request: Recorded, random: Random) -> Recorded:
    """Use another method."""
    return replace(request, method=random.choice(METHODS))


KINDS: dict[str, Damage] = {
    one.__name__: one
    for one in (changed_byte, cut, inserted, junk, odd_value, odd_value, odd_xml, charset, coding, odd_header, odd_der,
                repeated, odd_address, odd_method)
}  # fmt: skip


def written(request: Recorded, port: int, random: Random) -> Sent:
    """Return a request's bytes; now and then with broken framing, or from a client that goes away half way."""
    named = {name.lower() for name, _ in request.headers}
    framing, body = f"Content-Length: {len(request.body)}", request.body
    at = random.random()
    if at < 0.05:
        framing = f"Content-Length: {random.choice((len(body) + 9, max(0, len(body) - 3), -1, 10**30, 'x'))}"
    elif at < 0.12:
        framing = "Transfer-Encoding: chunked"
        body = random.choice((b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body), b"zz\r\n" + body, b"5\r\nab"))
    lines = [f"{request.method} {request.path} HTTP/1.1", "Connection: close", framing]
    if "host" not in named:
        lines.append(f"Host: localhost:{port}")
    lines += [f"{name}: {value}" for name, value in request.headers if name.lower() != "content-length"]
    data = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body
    return Sent(data, random.randrange(len(data) + 1) if random.random() < 0.08 else None)
