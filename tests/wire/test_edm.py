import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfxlab.emulator.wire import edm

OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=OFFSETS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T09:15:00.0000000+01:00", datetime(2026, 3, 1, 8, 15, tzinfo=UTC)),
        ("2024-05-01T10:11:12.1234567+02:00", datetime(2024, 5, 1, 8, 11, 12, 123456, tzinfo=UTC)),
        ("2024-05-01T08:11:12+00:00", datetime(2024, 5, 1, 8, 11, 12, tzinfo=UTC)),
        ("2024-05-01T08:11:12.000Z", datetime(2024, 5, 1, 8, 11, 12, tzinfo=UTC)),
        ("0001-01-01T00:00:00+00:00", datetime(1, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00+05:30", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_reads_every_clients_dates(text: str, expected: datetime) -> None:
    """Dates as the cmdlets, the Python SDK and the TypeScript SDK write them are read as UTC."""
    assert edm.parse_date_time(text) == expected


@given(MOMENTS)
def test_date_survives_the_wire(moment: datetime) -> None:
    """A moment with any offset survives formatting and parsing."""
    assert edm.parse_date_time(edm.format_date_time(moment)) == moment
    assert edm.parse_date_time(moment.isoformat()) == moment


def test_written_date_has_seven_digits_and_z() -> None:
    """Dates are written in UTC with Z and seven fraction digits, as real exports show."""
    moment = datetime(2026, 2, 1, 10, 0, 1, 482019, tzinfo=timezone(timedelta(hours=1)))
    assert edm.format_date_time(moment) == "2026-02-01T09:00:01.4820190Z"


@pytest.mark.parametrize(
    "text", ["", "2026-03-01", "2026-03-01T09:15:00", "2026-13-01T09:15:00Z", "2026-03-01T09:15:00+25:00", "yesterday"]
)
def test_other_dates_are_refused(text: str) -> None:
    """A date without time, offset or sense is refused."""
    with pytest.raises(ValueError, match=r"expected|must be"):
        edm.parse_date_time(text)


@given(st.binary())
def test_binary_is_read_as_dotnet_reads_it(data: bytes) -> None:
    """Base64 is read with white space anywhere, as .NET writes and reads it, and written without."""
    assert edm.format_binary(data) == base64.b64encode(data).decode()
    broken_up = "A \r\n\tA".join(base64.b64encode(data).decode().split("AA"))
    for spelled in (base64.b64encode(data).decode(), base64.encodebytes(data).decode(), broken_up):
        assert edm.parse_binary(spelled) == data


# Convert.FromBase64String refuses them: sources.md#record-base64.
@pytest.mark.parametrize("text", ["====a", "a", "ab*d", "ä===", "-_-_", "YWI", "YW==YW==", "YWI==", "YW\u00a0I="])
def test_invalid_base64_is_refused(text: str) -> None:
    """Text that is not base64 is refused without repeating it."""
    with pytest.raises(ValueError, match="expected base64"):
        edm.parse_binary(text)
