"""Which events of the log are reported to the service, and that many events do not displace errors."""

from datetime import UTC, datetime, timedelta

from pfxlab.connector_sim import eventlog as log
from pfxlab.connector_sim.eventlog import Event, PendingEvents
from pfxlab.emulator.clock import LabClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_errors_are_not_driven_out_by_good_news() -> None:
    """After any number of other events an error is still reported, in order of time and only once."""
    clock = LabClock()
    clock.freeze(NOW)
    unreported = PendingEvents(clock, most=10)
    unreported.add(Event(log.UPLOAD_FAILURE, "broken"))
    for _ in range(99):
        clock.advance(timedelta(seconds=1))
        unreported.add(Event(log.UPLOAD_SUCCESS, "fine"))
    lines = unreported.lines()
    assert [line["id"] for line in lines] == [log.UPLOAD_FAILURE] + [log.UPLOAD_SUCCESS] * 10
    unreported.add(Event(log.DOWNLOAD_FAILURE, "later"))
    unreported.drop_reported(lines)
    assert [line["text"] for line in unreported.lines()] == ["later"]


def test_events_of_single_requests_stay_on_the_server() -> None:
    """Events for each successful request are not reported; a failed request is."""
    unreported = PendingEvents(LabClock())
    for number in (2020, 2050, 2102, 2000, 2001):
        unreported.add(Event(number, "x" * 5000))
    (line,) = unreported.lines()
    assert (line["id"], len(line["text"])) == (log.PKCS_IMPORT_FAILURE, 2000)
