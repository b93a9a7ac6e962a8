"""Any request to any route: never a 5xx, never a half-written record, always Graph's form."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.clock import LabClock
from emulator.cloud import Cloud
from emulator.config import Config
from emulator.entra.grants import TokenRequest, token
from emulator.graph.dispatch import Incoming, build_router, dispatch
from emulator.seed import seed
from emulator.wire.enums import PaddingScheme

ORIGIN = "https://localhost"
CLOUD = Cloud(Config(), LabClock())
MADE = seed(CLOUD)
FORM = {
    "grant_type": "client_credentials", "client_id": MADE.admin_client_id, "client_secret": MADE.admin_client_secret,
    "scope": "https://graph.microsoft.com/.default",
}  # fmt: skip
TOKEN = token(CLOUD, TokenRequest(CLOUD.directory.tenants()[0], FORM, ORIGIN))["access_token"]
RECORD = {
    "thumbprint": "ab" * 20, "userPrincipalName": MADE.user_upn, "startDateTime": "2026-01-01T00:00:00Z",
    "expirationDateTime": "2027-01-01T00:00:00Z", "encryptedPfxBlob": "MAAA", "encryptedPfxPassword": "AAAA",
    "intendedPurpose": "smimeSigning", "paddingScheme": "oaepSha256", "keyName": "k", "providerName": "p",
    "@odata.type": "#microsoft.graph.iosImportedPFXCertificateProfile", "displayName": "d",
}  # fmt: skip

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
ODD_RECORD = st.dictionaries(st.sampled_from([*RECORD, "id", "keyAlgorithm", "assignments"]), JSON, max_size=5)
BODY = st.one_of(
    st.binary(max_size=60),
    JSON.map(lambda value: json.dumps(value).encode()),
    ODD_RECORD.map(lambda changes: json.dumps({**RECORD, **changes}).encode()),
    st.lists(st.fixed_dictionaries({"id": st.text(max_size=3), "method": st.sampled_from(["GET", "POST", "X"]),
                                    "url": st.text(max_size=20)}), max_size=3)
    .map(lambda requests: json.dumps({"requests": requests}).encode()),
)  # fmt: skip
KEY = st.text(max_size=20) | st.sampled_from(["../..", "%2e%2e", "'", "')", "(", "a'b", "\0", "x" * 3000])
TEMPLATES = [(method, template) for method, template, _ in build_router().table] + [("POST", "$batch")]
QUERY = st.one_of(
    st.text(max_size=60),
    st.sampled_from(["$filter=", "$top=", "$skip=", "$orderby=", "$select=", "$skiptoken=", "$expand=", "filter="]).flatmap(
        lambda name: st.text(max_size=60).map(lambda value: name + value)
    ),
    st.integers(1, 400).map(lambda depth: "$filter=" + "(" * depth + "keyName eq 'x'" + ")" * depth),
    st.integers(1, 300).map(lambda count: "$filter=" + " or ".join(["keyName eq 'x'"] * count)),
)  # fmt: skip


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(TEMPLATES),
    st.sampled_from(["GET", "POST", "PATCH", "PUT", "DELETE", "BREW"]),
    KEY,
    QUERY,
    BODY,
    st.booleans(),
)
def test_no_request_breaks_the_service(
    route: tuple[str, str], method: str, key: str, query: str, body: bytes, own_method: bool
) -> None:
    """Whatever is sent to whichever route, the answer is below 500, in Graph's form, with its request-id."""
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json", "user-agent": "fuzz"}
    path = route[1].replace("{}", key.replace("/", "%2F"))
    incoming = Incoming(route[0] if own_method else method, ORIGIN, "beta", path, query, headers, body)
    answer = dispatch(CLOUD, incoming)
    assert answer.status < 500, CLOUD.journal.entries(after=0, limit=100_000)[-1]
    assert answer.headers["request-id"]
    if answer.status >= 400:
        shown: dict[str, Any] = json.loads(answer.body)
        assert {"code", "message", "innerError"} <= set(shown["error"])
    for row in CLOUD.store.rows("select * from pfx_certificates where not is_deleted"):
        assert row["thumbprint"]
        assert row["encrypted_pfx_blob"]
        assert row["encrypted_pfx_password"]
        assert row["padding_scheme"] in list(PaddingScheme)
    assert not CLOUD.store._db.conn.in_transaction


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=100).map(lambda data: data.decode("latin-1")))
def test_no_token_breaks_the_service(text: str) -> None:
    """Whatever stands in the Authorization header, the answer is 401."""
    incoming = Incoming("GET", ORIGIN, "beta", "users", "", {"authorization": f"Bearer {text}"})
    assert dispatch(CLOUD, incoming).status == 401
