"""The delivery table, and the service that moves deliveries through it, against a model and random histories."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.config import Config, Switches
from pfxlab.emulator.intune import deliveries
from pfxlab.emulator.lab.seed import Credentials, seed
from pfxlab.emulator.store.deliveries import Delivery
from pfxlab.emulator.store.delivery_states import TABLE, IllegalTransition, State, Trigger, mermaid, next_state
from pfxlab.emulator.store.device_configurations import Assignment, DeviceConfiguration
from pfxlab.emulator.store.devices import Device
from pfxlab.emulator.store.pfx_certificates import PfxCertificate
from pfxlab.emulator.wire.connector import NotRecrypted, Recrypted
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.emulator.wire.ids import record_id
from tests.campaign import examples

START = datetime(2026, 3, 1, tzinfo=UTC)
PROFILE = "11111111-2222-4333-8444-555555555555"


def test_every_state_can_end() -> None:
    """Every state can reach removal, and every state but the first can be reached."""
    reachable = {State.WANTED} | set(TABLE.values())
    assert reachable == set(State)
    for state in State:
        seen, todo = {state}, [state]
        while todo:
            here = todo.pop()
            after = {end for (begin, _), end in TABLE.items() if begin is here} - seen
            seen |= after
            todo += after
        assert State.REMOVED in seen


def test_nothing_is_installed_without_having_been_offered() -> None:
    """The only step into `installed` is the device's confirmation of an offer."""
    assert [step for step, end in TABLE.items() if end is State.INSTALLED] == [(State.OFFERED, Trigger.CONFIRMED)]


def test_illegal_step_is_refused_by_name() -> None:
    """A step that the table does not have raises, naming state and trigger."""
    with pytest.raises(IllegalTransition, match="re-encrypted in wanted"):
        next_state(State.WANTED, Trigger.RECRYPTED)


def test_diagram_is_drawn_from_the_table() -> None:
    """The diagram in docs is generated from the current table."""
    page = Path(__file__).parents[3] / "docs" / "delivery-states.md"
    assert f"```mermaid\n{mermaid()}```" in page.read_text()


def world(clock: LabClock, folder: Path | None = None, **switches: float) -> tuple[Cloud, Credentials, Device]:
    """Return a cloud with one user, one iPhone, and an encryption profile for everybody."""
    cloud = Cloud(Config(switches=Switches(**switches)), clock, folder)  # type: ignore[arg-type]
    made = seed(cloud)
    user = cloud.directory.user(made.tenant_id, made.user_upn)
    assert user is not None
    now = clock.now()
    device = Device("d1", made.tenant_id, user["id"], "ios", "iPhone", "18", "m", "a", "s", "u", b"", "key-1", now, now)
    cloud.devices.save(device)
    profile = DeviceConfiguration(
        PROFILE, made.tenant_id, "#microsoft.graph.iosImportedPFXCertificateProfile", "p", 1, now, now,
        {"intendedPurpose": "smimeEncryption"},
    )  # fmt: skip
    cloud.profiles.save(profile)
    cloud.profiles.assign(PROFILE, [Assignment("a", PROFILE, "allLicensedUsersAssignmentTarget", "g")])
    return cloud, made, device


def certificate(cloud: Cloud, made: Credentials, number: int, now: datetime) -> PfxCertificate:
    """Return a record of the user."""
    user = cloud.directory.user(made.tenant_id, made.user_upn)
    assert user is not None
    thumbprint = format(number, "040x")
    return PfxCertificate(
        record_id(user["id"], thumbprint), made.tenant_id, user["id"], thumbprint, made.user_upn,
        IntendedPurpose.smimeEncryption, now, now + timedelta(days=365), "p", "k", PaddingScheme.oaepSha512, b"pfx",
        "AAAA", now, now,
    )  # fmt: skip


class DeliveryHistory(RuleBasedStateMachine):
    """Imports, check-ins, connectors and clock in any order; the model has the allowed results of each step."""

    @initialize()
    def begin(self) -> None:
        """Start with an empty store."""
        self.clock = LabClock(START)
        self.cloud, self.made, self.device = world(self.clock, connector_attempts=2, connector_retry_seconds=10)
        self.imported: set[int] = set()
        self.leases: list[tuple[str, list[str]]] = []
        self.accepted: set[tuple[str, str]] = set()
        self.held: set[str] = set()

    def all(self) -> list[Delivery]:
        """Return every delivery."""
        return self.cloud.deliveries.of_device("d1")

    @rule(number=st.integers(1, 3))
    def import_certificate(self, number: int) -> None:
        """Import a certificate, or the same one again with new content."""
        record = certificate(self.cloud, self.made, number, self.clock.now())
        self.cloud.certificates.save(record)
        deliveries.certificates_changed(self.cloud, record.user_id, record.id if number in self.imported else None)
        self.imported.add(number)

    @rule(number=st.integers(1, 3))
    def delete_certificate(self, number: int) -> None:
        """Delete a certificate."""
        record = certificate(self.cloud, self.made, number, self.clock.now())
        self.cloud.certificates.delete(self.made.tenant_id, record.id, self.clock.now())
        deliveries.certificates_changed(self.cloud, record.user_id)
        self.imported.discard(number)

    @rule()
    def check_in(self) -> None:
        """Let the device request what it lacks and fetch what is ready."""
        known = deliveries.reconcile(self.cloud, self.device)
        deliveries.ask(self.cloud, known, self.device)
        for delivery in self.all():
            if delivery.state is State.READY:
                self.held.add(delivery.id)
                assert delivery.payload == b"cms"
                assert delivery.device_key_thumbprint == self.device.key_thumbprint
                deliveries.apply(self.cloud, delivery, Trigger.SENT)

    @rule(trigger=st.sampled_from([Trigger.CONFIRMED, Trigger.REFUSED, Trigger.MISSING, Trigger.REMOVAL_CONFIRMED]))
    def report(self, trigger: Trigger) -> None:
        """Let the device report the result of what it was sent."""
        for delivery in self.all():
            if deliveries.possible(delivery, trigger):
                deliveries.apply(self.cloud, delivery, trigger)
                if trigger is Trigger.REMOVAL_CONFIRMED:
                    self.held.discard(delivery.id)

    @rule(limit=st.integers(1, 3))
    def lease(self, limit: int) -> None:
        """Let a connector lease work."""
        lease_id, leased = deliveries.lease(self.cloud, self.made.tenant_id, "c1", limit)
        self.leases.append((lease_id, [delivery["id"] for delivery in leased]))

    @precondition(lambda self: bool(getattr(self, "leases", None)))
    @rule(data=st.data(), good=st.booleans())
    def complete(self, data: st.DataObject, good: bool) -> None:
        """Let a connector complete any lease it ever had, even twice: each request counts at most once."""
        lease_id, requests = data.draw(st.sampled_from(self.leases))
        results = [Recrypted(r, b"cms") if good else NotRecrypted(r, "KeyNotFound", "x") for r in requests]
        before = {delivery.id: delivery for delivery in self.all()}
        for told in deliveries.complete(self.cloud, "c1", lease_id, results):
            unit = (lease_id, told["requestId"])
            if told["outcome"] == "accepted":
                assert unit not in self.accepted
                self.accepted.add(unit)
            else:
                assert self.cloud.deliveries.get(told["requestId"]) == before[told["requestId"]]

    @precondition(lambda self: bool(getattr(self, "leases", None)))
    @rule(data=st.data())
    def complete_as_another(self, data: st.DataObject) -> None:
        """Let another connector complete a lease: nothing changes."""
        lease_id, requests = data.draw(st.sampled_from(self.leases))
        before = self.all()
        told = deliveries.complete(self.cloud, "c2", lease_id, [Recrypted(r, b"other") for r in requests])
        assert {answer["outcome"] for answer in told} <= {"stale"}
        assert self.all() == before

    @rule(seconds=st.sampled_from([1, 15, 200]))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.clock.advance(timedelta(seconds=seconds))

    @rule()
    def renew_key(self) -> None:
        """Let the device renew its key: deliveries for the old one are prepared again."""
        self.device = replace(self.device, key_thumbprint=f"{self.device.key_thumbprint}'")
        self.cloud.devices.save(self.device)

    @invariant()
    def fields_fit_the_state(self) -> None:
        """Leases, payloads and reasons stand where the state allows them, and nowhere else."""
        for delivery in self.all() if hasattr(self, "cloud") else ():
            assert (delivery.lease_id is not None) == (delivery.state is State.LEASED)
            if delivery.state in (State.READY, State.OFFERED):
                assert delivery.payload == b"cms"
            if delivery.state in (State.WANTED, State.REQUESTED, State.INSTALLED, State.REMOVED, State.SUPERSEDED):
                assert delivery.payload is None
            if delivery.state is State.FAILED:
                assert delivery.reason or delivery.attempts == 0

    @invariant()
    def nothing_is_forgotten_on_the_device(self) -> None:
        """A certificate sent to the device counts as removed only after the device reports it."""
        for delivery in self.all() if hasattr(self, "cloud") else ():
            assert delivery.maybe_on_device == (delivery.id in self.held)
            if delivery.state in (State.REMOVED, State.SUPERSEDED):
                assert delivery.id not in self.held

    @invariant()
    def each_import_has_its_delivery(self) -> None:
        """After every step each imported certificate has one active delivery, and no other has any."""
        if not hasattr(self, "cloud"):
            return
        ended = (State.REMOVED, State.REMOVING, State.SUPERSEDED)
        alive = sorted(d.thumbprint for d in self.all() if d.state not in ended)
        assert alive == sorted(format(number, "040x") for number in self.imported)

    def teardown(self) -> None:
        """Close the store."""
        if hasattr(self, "cloud"):
            self.cloud.close()


TestDeliveryHistory = DeliveryHistory.TestCase
TestDeliveryHistory.settings = settings(max_examples=examples(12, 300), stateful_step_count=30, deadline=None)


def test_failed_attempt_is_put_off_then_final() -> None:
    """A failed attempt waits for its turn again, the last one ends as failed with the connector's reason."""
    clock = LabClock(START)
    cloud, made, device = world(clock, connector_attempts=2, connector_retry_seconds=30)
    cloud.certificates.save(certificate(cloud, made, 1, START))
    deliveries.ask(cloud, deliveries.reconcile(cloud, device), device)
    for attempt in (1, 2):
        lease_id, (leased,) = deliveries.lease(cloud, made.tenant_id, "c", 5)
        deliveries.complete(cloud, "c", lease_id, [NotRecrypted(leased["id"], "KeyNotFound", "expected the key")])
        assert deliveries.lease(cloud, made.tenant_id, "c", 5)[1] == []
        clock.advance(timedelta(seconds=31))
        assert cloud.deliveries.of_device("d1")[0].attempts == attempt
    (failed,) = cloud.deliveries.of_device("d1")
    assert (failed.state, failed.reason) == (State.FAILED, "KeyNotFound: expected the key")
    cloud.close()


def test_lease_that_ends_returns_to_the_queue() -> None:
    """Work of a silent connector goes to the next one, and its late completion changes nothing."""
    clock = LabClock(START)
    cloud, made, device = world(clock, connector_lease_seconds=60)
    cloud.certificates.save(certificate(cloud, made, 1, START))
    deliveries.ask(cloud, deliveries.reconcile(cloud, device), device)
    first, (leased,) = deliveries.lease(cloud, made.tenant_id, "c1", 5)
    assert deliveries.lease(cloud, made.tenant_id, "c2", 5)[1] == []
    clock.advance(timedelta(seconds=61))
    second, (again,) = deliveries.lease(cloud, made.tenant_id, "c2", 5)
    assert again["id"] == leased["id"]
    late = deliveries.complete(cloud, "c1", first, [Recrypted(leased["id"], b"late")])
    assert late == [{"requestId": leased["id"], "outcome": "stale", "final": False}]
    deliveries.complete(cloud, "c2", second, [Recrypted(leased["id"], b"right")])
    assert cloud.deliveries.of_device("d1")[0].payload == b"right"
    cloud.close()


LATER = START + timedelta(minutes=2)
TEXTS = st.none() | st.sampled_from(["a", "b"])
MOMENTS = st.none() | st.sampled_from([START, LATER])
COLUMNS = st.fixed_dictionaries(
    {
        "state": st.sampled_from(State), "reason": TEXTS, "attempts": st.integers(0, 3), "not_before": MOMENTS,
        "lease_id": TEXTS, "leased_by": TEXTS, "lease_until": MOMENTS, "device_key_thumbprint": TEXTS,
        "payload": st.none() | st.binary(max_size=3), "maybe_on_device": st.booleans(), "error_code": st.integers(0, 9),
    }
)  # fmt: skip
"""Every column that a step may set, with any value, whether or not it fits the state."""


@pytest.fixture(scope="module")
def held() -> Iterator[tuple[Cloud, Delivery]]:
    """Return a cloud with one delivery."""
    cloud, made, device = world(LabClock(START))
    cloud.certificates.save(certificate(cloud, made, 1, START))
    (delivery,) = deliveries.reconcile(cloud, device)
    yield cloud, delivery
    cloud.close()


def singly(cloud: Cloud, before: Delivery, trigger: Trigger, **changes: Any) -> Delivery | None:
    """Return the delivery after one step, or unchanged where the table has no such step."""
    cloud.deliveries.save(before)
    if deliveries.possible(before, trigger):
        deliveries.apply(cloud, before, trigger, **changes)
    return cloud.deliveries.get(before.id)


@given(columns=COLUMNS)
def test_many_deliveries_are_leased_as_one_would_be(held: tuple[Cloud, Delivery], columns: dict[str, Any]) -> None:
    """A lease of many changes the columns that the single step changes, and nothing where the table has no such step."""
    cloud, delivery = held
    before = replace(delivery, **columns)
    cloud.deliveries.save(before)
    cloud.deliveries.take([{"id": before.id}], "l1", "c1", LATER, cloud.clock.now())
    many = cloud.deliveries.get(before.id)
    leased = {"lease_id": "l1", "leased_by": "c1", "lease_until": LATER}
    assert many == singly(cloud, before, Trigger.LEASE_TAKEN, **leased)
    assert many is not None
    assert (many.state is State.LEASED) == (before.state in (State.REQUESTED, State.LEASED))


@given(columns=COLUMNS)
def test_many_results_are_kept_as_one_would_be(held: tuple[Cloud, Delivery], columns: dict[str, Any]) -> None:
    """Results of many change the columns that the single step changes, and nothing where the table has no such step."""
    cloud, delivery = held
    before = replace(delivery, **columns)
    cloud.deliveries.save(before)
    cloud.deliveries.make_ready([(before.id, b"result")], cloud.clock.now())
    many = cloud.deliveries.get(before.id)
    assert many == singly(cloud, before, Trigger.RECRYPTED, payload=b"result")
    assert many is not None
    assert (many.state is State.READY) == (before.state in (State.LEASED, State.READY))


@given(columns=COLUMNS, step=st.sampled_from(list(TABLE)))
def test_many_take_any_step_as_one_would(
    held: tuple[Cloud, Delivery], columns: dict[str, Any], step: tuple[State, Trigger]
) -> None:
    """A step of all that are in a state changes the columns that the single step changes."""
    cloud, delivery = held
    state, trigger = step
    before = replace(delivery, **{**columns, "state": state})
    cloud.deliveries.save(before)
    assert cloud.deliveries.step_many(state, trigger, cloud.clock.now()) == 1
    many = cloud.deliveries.get(before.id)
    assert many == singly(cloud, before, trigger)
    assert many is not None
    assert many.state is TABLE[step]


def test_many_take_no_step_that_the_table_lacks(held: tuple[Cloud, Delivery]) -> None:
    """A step that the table does not have is refused for many as it is for one, and changes nothing."""
    cloud, delivery = held
    lacking = [(state, trigger) for state in State for trigger in Trigger if (state, trigger) not in TABLE]
    assert len(lacking) > 100
    for state, trigger in lacking:
        before = replace(delivery, state=state)
        cloud.deliveries.save(before)
        with pytest.raises(IllegalTransition):
            cloud.deliveries.step_many(state, trigger, cloud.clock.now())
        assert cloud.deliveries.get(before.id) == before
