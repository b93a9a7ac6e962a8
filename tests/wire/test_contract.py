import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.wire import connector as contract
from emulator.wire.enums import IntendedPurpose, KeyStorageProviderOption, PaddingScheme, parse_member
from emulator.wire.pfx_cert_install import KEY_LOCATION_OF_PROVIDER

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


@given(PASSWORD_ITEM | PAYLOAD_ITEM)
def test_work_survives_the_wire(item: contract.WorkItem) -> None:
    """A work item passes its schema and reads back as itself, of its own kind."""
    body = json.loads(json.dumps({"leaseId": None, "leaseSeconds": 1, "items": [contract.item_to_json(item)]}))
    assert contract.item_from_json(contract.checked("work", body)["items"][0]) == item


@given(RESULT)
def test_result_survives_the_wire(result: contract.Result) -> None:
    """A result, good or bad, passes its schema and reads back as itself."""
    lease = "0f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0"
    body = json.loads(json.dumps({"leaseId": lease, "results": [contract.result_to_json(result)]}))
    assert contract.result_from_json(contract.checked("complete", body)["results"][0]) == result


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"max": 0, "waitSeconds": 1}, "max: expected minimum 1, got int"),
        ({"max": 1}, "expected waitSeconds, got none"),
        ({"max": "1", "waitSeconds": 0}, "max: expected type"),
    ],
)
def test_broken_message_says_where_and_what(body: object, said: str) -> None:
    """A message that breaks the contract is refused with its place, the rule, and the kind of value that came."""
    with pytest.raises(contract.ContractError, match=said):
        contract.checked("lease", body)


def test_secret_is_not_repeated_in_a_refusal() -> None:
    """The refusal of a body does not quote what was in it."""
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
