"""Stored deadlines after the lab's clock was set back: the time left until them stays the same."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfxlab.device_sim.schedule import APPLE, next_check_in
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.config import Config
from pfxlab.emulator.graph.throttling import CONFIGURATION, Limits, Request, Throttle
from pfxlab.emulator.intune import deliveries
from pfxlab.emulator.store.connectors import Connector
from pfxlab.emulator.store.delivery_states import State
from pfxlab.emulator.wire.connector import NotRecrypted
from tests.campaign import examples
from tests.emulator.store.test_delivery_states import START, certificate, world

LEASE, RETRY = 120, 30
DAY_AND_MORE = timedelta(hours=26)
MOVES = st.lists(st.integers(-200_000, 200_000).filter(bool), max_size=6)
"""Seconds by which the clock is moved, forward or back."""


class UnnoticedClock(LabClock):
    """A clock that does not report jumps, like the machine's own."""

    moment = START

    def now(self) -> datetime:
        """Return the moment it was given."""
        return self.moment


def leased(clock: LabClock) -> tuple[Cloud, str]:
    """Return a cloud in which one connector has just leased the only request, and its tenant."""
    cloud, made, device = world(clock, connector_lease_seconds=LEASE, connector_retry_seconds=RETRY)
    cloud.certificates.save(certificate(cloud, made, 1, clock.now()))
    deliveries.ask(cloud, deliveries.reconcile(cloud, device), device)
    _, rows = deliveries.lease(cloud, made.tenant_id, "first", 10)
    assert len(rows) == 1
    return cloud, made.tenant_id


def is_free(cloud: Cloud, tenant_id: str) -> bool:
    """Return whether another connector gets the request now."""
    return bool(deliveries.lease(cloud, tenant_id, "second", 10)[1])


@settings(max_examples=examples(10, 500))
@given(moves=MOVES)
def test_lease_lasts_as_long_as_it_was_given_for(moves: list[int]) -> None:
    """However the clock is moved, a lease ends once its seconds have passed forward, and not before."""
    clock = LabClock(START)
    cloud, tenant_id = leased(clock)
    passed = 0
    for move in moves:
        clock.set(clock.now() + timedelta(seconds=move))
        passed += max(0, move)
    assert is_free(cloud, tenant_id) == (passed >= LEASE)


@settings(max_examples=examples(10, 500))
@given(moves=MOVES)
def test_lease_ends_after_unnoticed_jumps(moves: list[int]) -> None:
    """Whatever the machine's clock does, a lease ends after its seconds, counted from any connector's request."""
    clock = UnnoticedClock()
    cloud, tenant_id = leased(clock)
    for move in moves:
        clock.moment += timedelta(seconds=move)
        deliveries.lease(cloud, "another tenant", "another", 10)
    clock.moment += timedelta(seconds=LEASE)
    assert is_free(cloud, tenant_id)


def test_lease_ends_in_a_lab_that_starts_with_an_earlier_clock(tmp_path: Path) -> None:
    """A lease taken before a restart that set the clock back ends after its seconds."""
    clock = LabClock(START)
    cloud, made, device = world(clock, folder=tmp_path, connector_lease_seconds=LEASE)
    cloud.certificates.save(certificate(cloud, made, 1, clock.now()))
    deliveries.ask(cloud, deliveries.reconcile(cloud, device), device)
    deliveries.lease(cloud, made.tenant_id, "first", 10)
    cloud.close()
    earlier = LabClock(START - DAY_AND_MORE)
    again = Cloud(cloud.config, earlier, tmp_path)
    assert not is_free(again, made.tenant_id)
    earlier.advance(timedelta(seconds=LEASE))
    assert is_free(again, made.tenant_id)


def test_retry_waits_as_long_as_before() -> None:
    """A failed attempt is repeated after its pause, even if the clock is set back meanwhile."""
    clock = LabClock(START)
    cloud, tenant_id = leased(clock)
    (delivery,) = cloud.deliveries.of_device("d1")
    assert delivery.lease_id is not None
    deliveries.complete(cloud, "first", delivery.lease_id, [NotRecrypted(delivery.id, "KeyNotFound", "none")])
    clock.set(START - DAY_AND_MORE)
    clock.advance(timedelta(seconds=RETRY - 1))
    assert not is_free(cloud, tenant_id)
    clock.advance(timedelta(seconds=1))
    assert is_free(cloud, tenant_id)
    assert [one.state for one in cloud.deliveries.of_device("d1")] == [State.LEASED]


@pytest.mark.parametrize("hours", [-26, 0])
def test_silence_of_a_connector_is_measured_over_the_change(hours: int) -> None:
    """A connector that has been silent for half an hour has been so after the clock was set back as well."""
    clock = LabClock(START)
    cloud = Cloud(Config(), clock)
    cloud.connectors.save(Connector("c", "t", "name", "machine", "1", START, START, "thumbprint"))
    clock.advance(timedelta(minutes=30))
    clock.set(clock.now() + timedelta(hours=hours))
    found = cloud.connectors.get("c")
    assert found is not None
    assert clock.now() - found.last_connection == timedelta(minutes=30)


def test_throttling_ignores_requests_from_the_future() -> None:
    """Requests counted before the clock was set back do not throttle later ones for a day."""
    throttle = Throttle({CONFIGURATION: Limits(20.0, app_any=1)})
    request = Request(CONFIGURATION, "tenant", "app", write=False)
    assert throttle.judge(100_000.0, request).wait is None
    assert throttle.judge(100_001.0, request).wait == 19.0
    assert throttle.judge(10_000.0, request).wait is None


@pytest.mark.parametrize("poll", [APPLE, ((3, 5), (15, 8), (480, 0))])
def test_devices_come_every_eight_hours_before_their_enrolment(poll: tuple[tuple[int, int], ...]) -> None:
    """A device with an enrolment time in the future checks in within eight hours, by its unlimited set."""
    after, times = START - DAY_AND_MORE, []
    while after < START - timedelta(hours=8):
        after = next_check_in(poll, START, after)
        times.append(START - after)
    assert times == [timedelta(hours=24), timedelta(hours=16), timedelta(hours=8)]
