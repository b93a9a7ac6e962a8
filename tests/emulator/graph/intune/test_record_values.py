"""What values of a record are taken, kept and refused: a table written from the sources, with how sure each row is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pfxlab.emulator.config import Config, Switches
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.sources.facts import facts
from tests.conftest import new_lab
from tests.emulator.graph.client import PFX, admin, record

SHA1 = "8c5b0f6f3b1d2a4e6c7f8091a2b3c4d5e6f70812"


@dataclass(frozen=True)
class Row:
    """What is sent in place of a good value, and what a POST answers: status, and the beginning of its message."""

    name: str
    source: str
    sure: str
    sent: dict[str, Any]
    status: int = 201
    message: str = ""


def refused(edm_type: str, literal: str = "") -> str:
    """Return the message for a literal."""
    return f"Cannot convert the literal '{literal}' to the expected type '{edm_type}'."


ROWS = (
    Row("white space in the blob", "record-base64", "high", {"encryptedPfxBlob": " MIIM\r\nCANA\tRYBL OB00\n"}),
    Row("URL-safe blob", "record-base64", "high", {"encryptedPfxBlob": "MII_CA-A"}, 400, refused("Edm.Binary")),
    Row("blob without padding", "record-base64", "high", {"encryptedPfxBlob": "MIIMCA"}, 400, refused("Edm.Binary")),
    Row("its own type", "record-odata-type", "high", {"@odata.type": "#microsoft.graph.userPFXCertificate"}),
    Row("its own type without #", "record-odata-type", "high", {"@odata.type": "microsoft.graph.userPFXCertificate"}),
    Row("mis-cased type", "record-odata-type", "high", {"@odata.type": "#microsoft.graph.userPfxCertificate"}, 400,
        "A type named 'microsoft.graph.userPfxCertificate' could not be resolved by the model."),
    Row("foreign type", "record-odata-type", "high", {"@odata.type": "#microsoft.graph.ndesConnector"}, 400,
        "An entry with type 'microsoft.management.services.api.ndesConnector' was found, but it is not assignable to the "
        "expected type 'microsoft.management.services.api.userPFXCertificate'."),
    Row("type that is no text", "record-odata-type", "high", {"@odata.type": 5}, 400),
    Row("unknown namespace", "record-odata-type", "high", {"@odata.type": "#cheese.userPFXCertificate"}, 400,
        "A type named 'cheese.userPFXCertificate' could not be resolved by the model."),
    Row("no start", "json-of-clients", "certain", {"startDateTime": None}, 400),
    Row("no end", "json-of-clients", "certain", {"expirationDateTime": None}, 400),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_value_is_taken_or_refused(lab: Lab, row: Row) -> None:
    """A record with the value of a row is created, or refused with its message."""
    assert row.source in facts()
    reply = await (await admin(lab))("POST", PFX, {**record(lab), **row.sent})
    assert reply.status == row.status, reply.text
    if row.message:
        assert reply.code == "ModelValidationFailure"
        assert reply.message.startswith(row.message)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("2026-01-05T08:00:00.1234567+01:00", "2026-01-05T07:00:00.1234567Z"),
        ("2026-01-05T07:00:00.0000001Z", "2026-01-05T07:00:00.0000001Z"),
        ("2026-01-05T07:00:00.9999999Z", "2026-01-05T07:00:00.9999999Z"),
        ("2026-01-05T07:00:00.1234567899Z", "2026-01-05T07:00:00.1234567Z"),
        ("2026-01-05T07:00:00.5Z", "2026-01-05T07:00:00.5000000Z"),
    ],
)
async def test_all_seven_digits_of_a_date_are_kept(lab: Lab, sent: str, shown: str) -> None:
    """A date comes back with the digits it was sent with, and a change keeps those of the other (high)."""
    graph = await admin(lab)
    made = (await graph("POST", PFX, record(lab, startDateTime=sent, expirationDateTime=sent))).json
    assert (made["startDateTime"], made["expirationDateTime"]) == (shown, shown)
    assert (await graph("PATCH", f"{PFX}/{made['id']}", {"startDateTime": "2025-01-01T00:00:00Z"})).status == 204
    (listed,) = (await graph("GET", PFX)).json["value"]
    assert (listed["startDateTime"], listed["expirationDateTime"]) == ("2025-01-01T00:00:00Z", shown)


@pytest.mark.parametrize(("switch", "status"), [("accept", 201), ("reject400", 400)])
async def test_odd_thumbprint(tmp_path: Path, switch: Any, status: int) -> None:
    """A thumbprint that is no SHA-1 in hexadecimal is stored by default, refused with the switch (unknown)."""
    async with new_lab(tmp_path, Config(switches=Switches(odd_thumbprint=switch))) as lab:
        graph = await admin(lab)
        for thumbprint in (f"\u200e{SHA1}", f"{SHA1}-enc", "8c:5b", "ab" * 32, "8C 5B"):
            assert (await graph("POST", PFX, record(lab, thumbprint=thumbprint))).status == status
        assert (await graph("POST", PFX, record(lab, thumbprint=SHA1.upper()))).status == 201
