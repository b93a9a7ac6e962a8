"""Input that no honest client sends: refused in the protocol's own words, never a bug in the lab."""

import base64
import json
from dataclasses import asdict
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pfxlab.emulator.admin.export import as_csv
from pfxlab.emulator.wire import connector as contract
from pfxlab.emulator.wire import enrollment as paths
from pfxlab.emulator.wire.apple import mdm
from pfxlab.emulator.wire.numbers import whole_number
from pfxlab.scenarios.control.bundle import canonical
from pfxlab.scenarios.lab.lab import Lab
from tests.emulator.entra.test_entra import post_token
from tests.emulator.entra.test_sign_in_flows import ASSERTION_TYPE, GRAPH, with_certificate
from tests.emulator.graph.client import PFX, Reply, admin, record
from tests.emulator.raw_wire import RawWire

FORM = b"Content-Type: application/x-www-form-urlencoded"
FIELDS = (
    b"grant_type=password&username=\\ud800%ED%A0%80&password=%ff&client_id=\xff&user_code=%00\\ud801&csrf=\xed\xa0\x80"
)
CHARSETS = [b"nonsense", b"utf-16", b"unicode_escape", b"hex", b"undefined", b"punycode", b"utf-7", b"\xff"]
MULTIPART = b"Content-Type: multipart/form-data; boundary=x"
FIELD = b'--x\r\nContent-Disposition: form-data; name="username"'
NO_MOMENTS = [
    "Infinity",
    "-Infinity",
    "NaN",
    '"4102444800.5"',
    "[4102444800]",
    "{}",
    "true",
    "null",
    "1e400",
    "9" * 400,
    "-1",
]
BROKEN_PARTS = [
    b"--x\r\n",
    b"junk",
    b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--",
    b"--x\r\n" + b"A: b\r\n" * 20_000,
    FIELD + b"\r\nContent-Type: text/plain; charset=hex\r\n\r\na\r\n--x--\r\n",
    FIELD + b"\r\nContent-Type: text/plain\r\n\r\n\xff\xfe\r\n--x--\r\n",
    FIELD + b"\r\nContent-Transfer-Encoding: base64\r\n\r\na\r\n--x--\r\n",
    FIELD + b"\r\nContent-Transfer-Encoding: rot13\r\n\r\na\r\n--x--\r\n",
    FIELD + b"\r\nContent-Encoding: gzip\r\n\r\na\r\n--x--\r\n",
    FIELD + b"\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\n--y--\r\n--x--\r\n",
]


def form_addresses(lab: Lab) -> list[tuple[str, set[int]]]:
    """Return every address that reads a form, with the expected statuses for an empty form."""
    tenant, client = lab.operator.credentials.tenant_id, lab.operator.credentials.public_client_id
    authorize = f"client_id={client}&redirect_uri=http://localhost&response_type=code"
    return [
        (f"/{tenant}/oauth2/v2.0/token", {400}),
        (f"/{tenant}/oauth2/v2.0/devicecode", {400}),
        (f"/{tenant}/oauth2/v2.0/authorize?{authorize}", {200}),
        (f"/{tenant}/adminconsent?client_id={client}", {200}),
        ("/common/oauth2/deviceauth", {400}),
        ("/admin/sign-in", {401}),
    ]


async def test_forms_of_any_charset_are_read_as_utf_8(lab: Lab) -> None:
    """A form with a charset or bytes that are not UTF-8 never breaks an endpoint: its fields match no user."""
    wire = RawWire(lab)
    for path, expected in form_addresses(lab):
        for charset in CHARSETS:
            status, body = await wire("POST", path, FIELDS, FORM + b"; charset=" + charset)
            assert (path, charset, status in expected) == (path, charset, True), status
            assert b"Traceback" not in body
    assert wire.entries("Defect") == []


async def test_broken_multipart_is_a_form_without_fields(lab: Lab) -> None:
    """A multipart form that cannot be read has no fields, for Entra ID and for the admin centre."""
    wire = RawWire(lab)
    for path, expected in form_addresses(lab):
        for body in BROKEN_PARTS:
            status, _ = await wire("POST", path, body, MULTIPART)
            assert (path, body[:100], status in expected) == (path, body[:100], True), status
    assert wire.entries("Defect") == []


async def test_good_form_in_a_foreign_charset_signs_in(lab: Lab) -> None:
    """A form with a charset other than UTF-8 is read anyway, so that its client gets a token."""
    made = lab.operator.credentials
    fields = {**lab.admin_form(), "scope": f"{GRAPH}/.default"}
    body = "&".join(f"{name}={value}" for name, value in fields.items()).encode()
    status, answer = await RawWire(lab)(
        "POST", f"/{made.tenant_id}/oauth2/v2.0/token", body, FORM + b"; charset=windows-1252"
    )
    assert (status, json.loads(answer)["token_type"]) == (200, "Bearer")


async def test_authorization_of_odd_bytes_is_refused(lab: Lab) -> None:
    """Any bytes that are not a token get 401 from each service that accepts tokens."""
    wire = RawWire(lab)
    csr = {"connectorName": "n", "machineName": "m", "connectorVersion": "6.2501.0.0", "certificateRequest": "AAAA"}
    for method, path, body in (
        ("GET", "/beta/users", b""),
        ("GET", paths.APPLE_ENROLL_PATH, b""),
        ("GET", "/lab/v1/switches", b""),
        ("POST", contract.ENROLL_PATH, json.dumps(csr).encode()),
    ):
        for value in (b"Bearer \xff\xfe", b"Bearer \xed\xa0\x80.\xff.", b"\xff", b"Bearer W10.W10.W10"):
            status, _ = await wire(method, path, body, b"Authorization: " + value)
            assert (path, value, status) == (path, value, 401)
    assert wire.entries("Defect") == []


async def test_user_agent_outside_utf_8_can_be_exported(lab: Lab) -> None:
    """A User-Agent with bytes that are not UTF-8 is in the journal, bundle and CSV with replacement characters."""
    wire = RawWire(lab)
    await wire("GET", "/beta/users", b"", b"User-Agent: tool\xff\xed\xa0\x80", b"client-request-id: \xfe")
    entries = lab.cloud.journal.entries()
    clients = [entry.fields["client"] for entry in entries if str(entry.fields.get("client", "")).startswith("tool")]
    assert clients == ["tool\N{REPLACEMENT CHARACTER}" + "\N{REPLACEMENT CHARACTER}" * 3]
    assert "tool\N{REPLACEMENT CHARACTER}".encode() in "\n".join(canonical(entries)).encode()
    assert b"tool" in as_csv(["client"], [entry.fields for entry in entries]).encode()


async def test_halves_of_characters_in_an_earlier_journal_can_be_exported(lab: Lab) -> None:
    """An entry that an earlier version stored with half of a character is read with a mark in its place."""
    store = lab.cloud.store
    store.run(
        "insert into journal (time, party, event, outcome, reason, fields) values ('t', 'graph', 'old', 'ok', null, ?)",
        ('{"client": "tool\\udcff"}',),
    )
    (entry,) = lab.cloud.journal.entries(event="old")
    assert asdict(entry)["fields"] == {"client": "tool\N{REPLACEMENT CHARACTER}"}


@pytest.mark.parametrize("name", ["startDateTime", "expirationDateTime"])
async def test_null_date_of_a_record_is_a_missing_property(lab: Lab, name: str) -> None:
    """A record whose date is null is refused as one without it, and nothing is imported."""
    graph = await admin(lab)
    reply = await graph("POST", PFX, record(lab, **{name: None}))
    assert reply.status == 400
    (entry,) = lab.cloud.journal.entries(rule="PropertyMissing")
    assert entry.reason == f"expected {name}, got empty values"
    assert (await graph("GET", PFX)).json["value"] == []


async def test_password_outside_ascii_is_taken_with_a_note(lab: Lab) -> None:
    """A record whose encrypted password is not base64 is imported, with a note that no connector can read it."""
    reply = await (await admin(lab))("POST", PFX, record(lab, encryptedPfxPassword="\N{SUPERSCRIPT TWO}"))
    assert reply.status == 201
    notes = [note for entry in lab.cloud.journal.entries() for note in entry.fields.get("notes", ())]
    assert [note.partition(":")[0] for note in notes if "Base64" in note] == ["PasswordNotBase64"]


def signed(key: rsa.RSAPrivateKey, certificate: x509.Certificate, claims: str) -> str:
    """Return a JWT around claims as they are written, whether or not they are JSON."""

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    head = json.dumps({"alg": "RS256", "x5t": encoded(certificate.fingerprint(hashes.SHA1()))})
    text = f"{encoded(head.encode())}.{encoded(claims.encode())}"
    return f"{text}.{encoded(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


async def test_claim_that_is_not_a_date_is_refused(
    lab: Lab, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate
) -> None:
    """A client assertion whose exp or nbf is neither a NumericDate nor a text of digits gets AADSTS700027: RFC 7519, section 2."""
    app_id, later = with_certificate(lab, certificate), int(lab.clock.now().timestamp()) + 600
    names = {"iss": app_id, "sub": app_id, "aud": f"{lab.authority_url}/oauth2/v2.0/token"}

    async def answer(moments: str) -> Reply:
        claims = f"{json.dumps(names)[:-1]}, {moments}}}"
        return await post_token(
            lab, grant_type="client_credentials", client_id=app_id, scope=f"{GRAPH}/.default",
            client_assertion=signed(rsa_key, certificate, claims), client_assertion_type=ASSERTION_TYPE,
        )  # fmt: skip

    assert (await answer(f'"exp": {later}, "nbf": 0.5')).status == 200
    for odd in NO_MOMENTS:
        for moments in (f'"exp": {odd}', f'"exp": {later}, "nbf": {odd}'):
            reply = await answer(moments)
            assert (moments, reply.status, reply.json["error_codes"]) == (moments, 401, [700027])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0), ("-2146893792", -2146893792), ("\N{SUPERSCRIPT TWO}", None), ("\N{ARABIC-INDIC DIGIT ONE}", None),
        ("--5", None), ("-", None), ("", None), ("9" * 5000, None),
    ],
)  # fmt: skip
def test_status_of_a_device_is_a_decimal_number_or_none(text: str, number: int | None) -> None:
    """A Status node counts as a number where it is written in up to ten decimal digits."""
    assert whole_number(text) == number


@pytest.mark.parametrize("chain", [None, "text", 7, {"ErrorCode": 1}, ["text", 7, None], b"data"])
def test_error_chain_of_another_type_is_ignored(chain: Any) -> None:
    """A value that an Apple device sends instead of an array of dictionaries is ignored."""
    assert mdm.dictionaries({"ErrorChain": chain}, "ErrorChain") == []
    assert mdm.dictionaries({"ErrorChain": [{"ErrorCode": 1}, 7]}, "ErrorChain") == [{"ErrorCode": 1}]
