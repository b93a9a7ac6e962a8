import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfxlab.emulator.wire import connector as contract
from pfxlab.emulator.wire.enums import IntendedPurpose, KeyStorageProviderOption, PaddingScheme, parse_member
from pfxlab.emulator.wire.omadm.pfx_cert_install import KEY_LOCATION_OF_PROVIDER

LEASE = "0f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0"
GUID = st.uuids().map(str)
PASSWORD_ITEM = st.builds(
    contract.PasswordRecryption, GUID, st.text(), st.text(), st.sampled_from(PaddingScheme), st.binary(), st.binary(),
    st.text(),
)  # fmt: skip
PAYLOAD_ITEM = st.builds(
    contract.PayloadEncryption, GUID, st.text(), st.text(), st.sampled_from(PaddingScheme), st.binary(), st.binary(),
    st.text(), st.binary(), st.text(), st.binary(),
)  # fmt: skip
RESULT = st.builds(contract.Recrypted, GUID, st.binary(min_size=1)) | st.builds(
    contract.NotRecrypted, GUID, st.text(min_size=1, max_size=256), st.text(max_size=2000)
)


@given(st.lists(PASSWORD_ITEM | PAYLOAD_ITEM, max_size=4))
def test_work_survives_the_wire(items: list[contract.WorkItem]) -> None:
    """A lease is valid by its schema and survives a round trip, with the kind of each item."""
    data = contract.write_work(LEASE if items else None, 1.5, items)
    contract.checked("work", json.loads(data))
    assert contract.read_work(data) == contract.Work(LEASE if items else None, 1.5, items)


@given(st.lists(RESULT, max_size=4))
def test_results_survive_the_wire(results: list[contract.Result]) -> None:
    """Results, good or bad, pass their schema and read back as themselves."""
    data = contract.write_completion(LEASE, results)
    contract.checked("complete", json.loads(data))
    assert contract.read_completion(data) == contract.Completion(LEASE, results)


ODD = (
    st.none()
    | st.booleans()
    | st.integers(-1, 9)
    | st.text(max_size=6)
    | st.just("AAAA")
    | st.lists(st.none(), max_size=1)
)
CHANGE = st.dictionaries(
    st.sampled_from(["requestId", "paddingScheme", "encryptedPfxPassword", "plistTemplate", "cert1PayloadUUID",
                     "encryptedPfxBlob", "keyName", "encryptedBlob", "code", "message", "cheese"]), ODD, max_size=2,
)  # fmt: skip
DROP = st.sets(st.sampled_from(["requestId", "plistTemplate", "cert1PayloadUUID", "encryptedPfxBlob", "encryptedBlob",
                                "code", "message", "deviceCertificate"]), max_size=2)  # fmt: skip


def fits(name: str, body: object) -> bool:
    """Return whether a body is valid by its schema."""
    try:
        contract.checked(name, body)
    except contract.ContractError:
        return False
    return True


@given(PASSWORD_ITEM | PAYLOAD_ITEM, CHANGE, DROP)
def test_reader_of_work_agrees_with_the_schema(item: contract.WorkItem, change: dict[str, Any], drop: set[str]) -> None:
    """The fast reader accepts no lease that its schema refuses, and raises only ContractError."""
    body = json.loads(contract.write_work(LEASE, 1, [item]))
    body["items"][0] = {n: v for n, v in {**body["items"][0], **change}.items() if n not in drop}
    try:
        contract.read_work(json.dumps(body).encode())
    except contract.ContractError:
        return
    assert fits("work", body)


@given(RESULT, CHANGE, DROP)
def test_reader_of_results_agrees_with_the_schema(
    result: contract.Result, change: dict[str, Any], drop: set[str]
) -> None:
    """The fast reader accepts no completion that its schema refuses, and raises only ContractError."""
    body = json.loads(contract.write_completion(LEASE, [result]))
    body["results"][0] = {n: v for n, v in {**body["results"][0], **change}.items() if n not in drop}
    try:
        contract.read_completion(json.dumps(body).encode())
    except contract.ContractError:
        return
    assert fits("complete", body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"max": 0, "waitSeconds": 1}, "max: expected minimum 1, got int"),
        ({"max": 1}, "expected waitSeconds, got none"),
        ({"max": "1", "waitSeconds": 0}, "max: expected type"),
    ],
)
def test_broken_message_is_refused_with_its_place(body: object, said: str) -> None:
    """A message that breaks the contract is refused with the place, the rule, and the kind of value found."""
    with pytest.raises(contract.ContractError, match=said):
        contract.checked("lease", body)


def test_secret_is_not_repeated_in_a_refusal() -> None:
    """The error for a refused body does not quote its content."""
    with pytest.raises(contract.ContractError) as refused:
        contract.checked("complete", {"leaseId": "canary-4711", "results": []})
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("text", ["VPN", "vpn", "Vpn"])
def test_enum_names_match_in_any_case(text: str) -> None:
    """Enum names of the .NET tools and of the SDKs mean the same member."""
    assert parse_member(IntendedPurpose, text) is IntendedPurpose.vpn


def test_key_storage_provider_numbers_are_not_key_locations() -> None:
    """Each keyStorageProvider maps to the CSP value of its meaning, not of its number."""
    option = KeyStorageProviderOption
    assert {
        option.useTpmKspOtherwiseFail: 1,
        option.useTpmKspOtherwiseUseSoftwareKsp: 2,
        option.useSoftwareKsp: 3,
        option.usePassportForWorkKspOtherwiseFail: 4,
    } == KEY_LOCATION_OF_PROVIDER


def test_long_message_is_cut_and_costs_no_other_result() -> None:
    """A reason longer than the contract allows is truncated, and the other results are unaffected."""
    results: list[contract.Result] = [
        contract.NotRecrypted(LEASE, "KeyNotFound", "K" * 5000),
        contract.Recrypted(LEASE, b"content"),
    ]
    assert contract.read_completion(contract.write_completion(LEASE, results)).results == [
        contract.NotRecrypted(LEASE, "KeyNotFound", "K" * 2000),
        contract.Recrypted(LEASE, b"content"),
    ]


SIZES = st.lists(st.tuples(st.integers(0, 3000), st.booleans()), max_size=40)


@given(SIZES, st.integers(4000, 20_000))
def test_results_are_split_without_loss(sizes: list[tuple[int, bool]], most: int) -> None:
    """However large results are, each group's message is within the limit, and together they are all there, in order."""
    results: list[contract.Result] = [
        contract.Recrypted(LEASE, bytes(size + 1)) if done else contract.NotRecrypted(LEASE, "Code", "\x00" * size)
        for size, done in sizes
    ]
    groups = contract.split_results(results, most)
    assert all(len(contract.write_completion(LEASE, group)) <= most for group in groups)
    assert all(groups)
    told = [result for group in groups for result in group]
    assert len(told) == len(results)
    for before, after in zip(results, told, strict=True):
        assert after == before or (isinstance(after, contract.NotRecrypted) and after.code == contract.RESULT_TOO_LARGE)


def test_a_result_larger_than_a_message_becomes_a_failure() -> None:
    """A result too large for any message is reported as such instead of being sent."""
    ((result,),) = contract.split_results([contract.Recrypted(LEASE, bytes(5000))], 4000)
    assert isinstance(result, contract.NotRecrypted)
    assert (result.code, "at most 4000 bytes" in result.message) == ("ResultTooLarge", True)
