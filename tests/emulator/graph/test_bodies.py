"""Bodies of requests, read and refused without a server (sources.md#json-content-type, sources.md#model-validation)."""

import json
from typing import Any

import pytest

from pfxlab.emulator.graph import bodies
from pfxlab.emulator.graph.errors import GraphError
from pfxlab.emulator.graph.odata.query import QueryOptions
from pfxlab.emulator.graph.request import GraphRequest

UNREADABLE = "Unable to read JSON request payload."


def request(body: bytes, content_type: str = "application/json") -> GraphRequest:
    """Return a request with a body, the only part that matters here."""
    nothing: Any = None
    return GraphRequest(nothing, nothing, "POST", "", "", (), QueryOptions(""), content_type, body)


def refusal(body: bytes, content_type: str = "application/json") -> GraphError:
    """Return the error that a body is refused with."""
    with pytest.raises(GraphError) as refused:
        bodies.read_json(request(body, content_type))
    return refused.value


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "application/json;odata=x"]
)
def test_objects_are_read(content_type: str) -> None:
    """A JSON object with umlauts and escapes is read, whatever the parameters of its media type."""
    body = '{"a": [1, 2.5, null, true], "ü": "\\u00e4\\ud83d\\ude00"}'.encode()
    assert bodies.read_json(request(body, content_type)) == {"a": [1, 2.5, None, True], "ü": "ä😀"}


@pytest.mark.parametrize(
    ("encoding", "content_type"),
    [
        ("utf-16-le", "application/json; charset=utf-16"),
        ("utf-16-be", "application/json; charset=utf-16BE"),
        ("utf-16", "application/json; charset=unicode"),
        ("utf-8-sig", "application/json"),
    ],
)
def test_encodings_of_powershell_are_read(encoding: str, content_type: str) -> None:
    """JSON in UTF-16, and with a byte order mark, as PowerShell writes it, is read (sources.md#json-of-powershell)."""
    assert bodies.read_json(request('{"ü": [1]}'.encode(encoding), content_type)) == {"ü": [1]}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "encryptedPfxBlob",
            [48, 130, 1],
            "Property encryptedPfxBlob in payload has a value that does not match schema.",
        ),
        ("paddingScheme", 5, "Cannot convert the literal '5' to the expected type"),
        (
            "startDateTime",
            "05.01.2026 08:00:00",
            "Cannot convert the literal '05.01.2026 08:00:00' to the expected type",
        ),
        (
            "startDateTime",
            "/Date(1767600000000)/",
            "Cannot convert the literal '/Date(1767600000000)/' to the expected",
        ),
        ("userPrincipalName", ["a@b.example"], "Property userPrincipalName in payload has a value that does not match"),
    ],
)
def test_values_of_powershell_are_refused_by_name(name: str, value: Any, message: str) -> None:
    """Bytes as numbers, enumerations as integers, local dates, lists of one: each is refused with what is wrong."""
    with pytest.raises(GraphError) as refused:
        bodies.check("userPFXCertificate", "userPFXCertificate", {name: value}, "service", partial=True)
    assert refused.value.status == 400
    assert refused.value.text.startswith(message)
    assert name in refused.value.reason


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Empty Payload. JSON content expected."),
        (b"{", UNREADABLE),
        (b'{"a": NaN}', UNREADABLE),
        (b'{"a": 1e999}', UNREADABLE),
        (b'{"a": "\\ud800"}', UNREADABLE),
        (b"[1]", UNREADABLE),
        (b'"text"', UNREADABLE),
        (b"[" * 100_000, UNREADABLE),
        (b'{"a": "\xff"}', "Unable to translate bytes at index 7 from specified code page to Unicode."),
    ],
)
def test_other_bodies_are_refused(body: bytes, message: str) -> None:
    """A body that is not a JSON object gets 400 with the message of the part of the service that finds it."""
    refused = refusal(body)
    assert refused.status == 400
    assert refused.text.startswith(message)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_other_media_types_are_refused(content_type: str) -> None:
    """JSON without a JSON Content-Type is not read."""
    refused = refusal(b"{}", content_type)
    assert refused.text.startswith(UNREADABLE)
    assert "expected Content-Type application/json" in refused.reason


def test_unknown_properties_name_the_type() -> None:
    """A property that the type lacks is named together with the type; a secret value never is."""
    with pytest.raises(GraphError) as refused:
        bodies.check("userPFXCertificate", "userPFXCertificate", {"tumbprint": "aa"}, "service")
    assert "The property 'tumbprint' does not exist on type" in refused.value.text
    with pytest.raises(GraphError) as refused:
        bodies.check(
            "userPFXCertificate", "userPFXCertificate", {"encryptedPfxBlob": "canary*"}, "service", partial=True
        )
    assert "canary" not in json.dumps([refused.value.text, refused.value.reason])
