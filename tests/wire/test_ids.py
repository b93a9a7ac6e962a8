import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfxlab.emulator.wire import ids

THUMBPRINT = st.from_regex(r"[0-9A-Fa-f]{40}", fullmatch=True)


def test_record_id_has_the_documented_form() -> None:
    """The key of a record is the user's id without dashes, a dash, and the thumbprint, 73 characters in all."""
    made = ids.record_id("0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0", "8C5B0F6F3B1D2A4E6C7F8091A2B3C4D5E6F70812")
    assert made == "0f1e2d3c4b5a69788796a5b4c3d2e1f0-8c5b0f6f3b1d2a4e6c7f8091a2b3c4d5e6f70812"
    assert len(made) == 73


@given(st.uuids(), THUMBPRINT, st.booleans())
def test_record_id_reads_back_in_any_case(user: UUID, thumbprint: str, upper: bool) -> None:
    """A record's key splits into user and thumbprint, in any case of letters."""
    text = ids.record_id(str(user), thumbprint)
    assert ids.parse_record_id(text.upper() if upper else text) == (str(user), thumbprint.lower())


@given(st.text().filter(lambda text: not re.match(r"[0-9a-f]{32}-.", text.lower())))
def test_other_keys_are_refused(text: str) -> None:
    """A key of any other form is refused with an error that says what was expected."""
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        ids.parse_record_id(text)


def test_upn_in_place_of_the_id_is_refused() -> None:
    """A key with a UPN, as Remove-IntuneUserPfxCertificate sends by mistake, matches no record."""
    with pytest.raises(ValueError, match="hexadecimal"):
        ids.parse_record_id("user@pfxlab.example-8c5b0f6f3b1d2a4e6c7f8091a2b3c4d5e6f70812")
