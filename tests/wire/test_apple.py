import plistlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfxlab.emulator.wire.apple import mdm
from pfxlab.emulator.wire.apple.plist import PlistError

UUID = "11111111-2222-4333-8444-555555555555"


@given(st.binary(max_size=300), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_template_is_filled_with_exactly_the_given_values(pfx: bytes, password: str) -> None:
    """A template filled by the connector keeps PKCS#12 and password byte for byte, markup included."""
    template = mdm.pkcs12_payload_template(UUID, "id", "name")
    (payload,) = plistlib.loads(mdm.fill_pkcs12_payload(template, UUID, pfx, password))
    assert payload["PayloadType"] == "com.apple.security.pkcs12"
    assert (payload["PayloadContent"], payload["Password"]) == (pfx, password)


def test_template_has_no_secret() -> None:
    """The cloud's template contains neither PKCS#12 nor password."""
    (payload,) = plistlib.loads(mdm.pkcs12_payload_template(UUID, "id", "name"))
    assert "PayloadContent" not in payload
    assert "Password" not in payload


def test_payload_is_found_by_its_uuid() -> None:
    """A template without the named payload is refused, not filled by guess."""
    template = mdm.pkcs12_payload_template(UUID, "id", "name")
    with pytest.raises(PlistError, match="99999999"):
        mdm.fill_pkcs12_payload(template, "99999999-2222-4333-8444-555555555555", b"", "x")


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    """Bytes that are not a property list raise PlistError and no other error."""
    with pytest.raises(PlistError):
        mdm.parse_dict(data)


def test_encrypted_profile_has_the_keys_apple_requires() -> None:
    """An encrypted profile carries EncryptedPayloadContent and no PayloadContent."""
    profile = plistlib.loads(mdm.encrypted_profile("id", UUID, "name", b"cms"))
    assert profile["EncryptedPayloadContent"] == b"cms"
    assert profile["PayloadType"] == "Configuration"
    assert profile["PayloadVersion"] == 1
    assert "PayloadContent" not in profile
