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
