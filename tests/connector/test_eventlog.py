"""What of the event log the service is told, and that errors are not driven out."""

from datetime import UTC, datetime, timedelta

from connector_sim import eventlog as log
from connector_sim.eventlog import Event, Untold

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_errors_are_not_driven_out_by_good_news() -> None:
    """After any number of other events an error is still told, in its place by time, and once only."""
    untold = Untold(most=10)
    untold.add(Event(log.UPLOAD_FAILURE, "broken"), NOW)
    for second in range(1, 100):
        untold.add(Event(log.UPLOAD_SUCCESS, "fine"), NOW + timedelta(seconds=second))
    lines = untold.lines()
    assert [line["id"] for line in lines] == [log.UPLOAD_FAILURE] + [log.UPLOAD_SUCCESS] * 10
    untold.add(Event(log.DOWNLOAD_FAILURE, "later"), NOW + timedelta(seconds=200))
    untold.told(lines)
    assert [line["text"] for line in untold.lines()] == ["later"]


def test_events_of_single_requests_stay_on_the_server() -> None:
    """What comes once for each good request is not told, a request's failure is."""
    untold = Untold()
    for number in (2020, 2050, 2102, 2000, 2001):
        untold.add(Event(number, "x" * 5000), NOW)
    (line,) = untold.lines()
    assert (line["id"], len(line["text"])) == (log.PKCS_IMPORT_FAILURE, 2000)
