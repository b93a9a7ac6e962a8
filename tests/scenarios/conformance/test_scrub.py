"""Reports on a tool contain no secret, in any form in which tools send them, and nothing unprintable."""

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfxlab.scenarios.conformance.scrub import Scrub

SECRET = "p+/ss wörd=1"


@pytest.mark.parametrize(
    "form", [SECRET, quote(SECRET), quote(SECRET, safe=""), base64.b64encode(SECRET.encode()).decode()]
)
def test_each_form_is_taken_out(form: str) -> None:
    """A secret is replaced by its name in clear, percent-encoded and in base64."""
    assert Scrub([("password", SECRET)])(f"before {form} after") == "before [password] after"


def test_shapes_are_taken_out() -> None:
    """Unknown private keys and tokens are recognised by their shape."""
    key = "-----BEGIN PRIVATE KEY-----\\nMIIE\\n-----END"
    assert Scrub([])(f'{{"key": "{key}'.removesuffix("-----END")) == '{"key": "[private key]'
    assert "eyJ" not in Scrub([])("x eyJ0eXAiOiJKV1Qi.eyJhdWQiOiJodHRw.c2lnbmF0dXJl y")


@given(st.text())
def test_any_text_can_be_written(text: str) -> None:
    """Every text becomes valid in UTF-8 and XML; a clean text stays unchanged."""
    told = Scrub([("empty", ""), ("none", None)])(text + "\udcfc\x1b\x01")
    told.encode("utf-8")
    assert "\x1b" not in told
    assert told == Scrub([])(told)
