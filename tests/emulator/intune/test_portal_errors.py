"""The admin centre's error numbers, by examples from its own texts: sources.md#portal-error-numbers."""

import pytest

from pfxlab.emulator.intune.portal_errors import of_apple, of_status, of_syncml


@pytest.mark.parametrize(
    ("code", "number"),
    [(9000, -2016327112), (9001, -2016327111), (4001, -2016332111), (1006, -2016335106), (12021, -2016324091)],
)
def test_apple_codes_have_their_published_numbers(code: int, number: int) -> None:
    """An ErrorCode of an Apple device is shown as the number Microsoft lists for it."""
    assert of_apple(code) == number


@pytest.mark.parametrize(
    ("status", "number"),
    [(404, -2016345708), (405, -2016345707), (418, -2016345694), (500, -2016345612), (507, -2016345605)],
)
def test_syncml_statuses_have_their_published_numbers(status: int, number: int) -> None:
    """A SyncML status is shown as the number Microsoft lists for it."""
    assert of_syncml(status) == number


def test_status_is_shown_as_hresult() -> None:
    """ERROR_INVALID_PASSWORD is 0x80070056 as an HRESULT, and an HRESULT stays unchanged."""
    assert of_status(86) == 0x80070056 - 2**32
    assert of_status(-2146893819) == -2146893819
