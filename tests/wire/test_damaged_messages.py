"""Messages with a damaged byte: each reader returns a message or raises its own error, never another."""

import plistlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import AttributeOID, NameOID

from pfxlab.emulator import pki
from pfxlab.emulator.wire import scep, signed_data
from pfxlab.emulator.wire.apple import mdm
from pfxlab.emulator.wire.apple.plist import PlistError
from pfxlab.emulator.wire.omadm import soap, syncml
from tests.campaign import examples

XML = b'<?xml version="1.0" encoding="utf-8"?>'
SYNCML = XML + (
    b'<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto><SessionID>1</SessionID>'
    b"<MsgID>1</MsgID><Target><LocURI>https://localhost</LocURI></Target><Source><LocURI>d</LocURI></Source></SyncHdr>"
    b"<SyncBody><Status><CmdID>1</CmdID><MsgRef>1</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd><Data>200</Data></Status>"
    b"<Final/></SyncBody></SyncML>"
)
SOAP = XML + (
    b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing">'
    b"<s:Header><a:Action>x</a:Action><a:MessageID>1</a:MessageID></s:Header><s:Body><x/></s:Body></s:Envelope>"
)
REPORT = {"Status": "Error", "UDID": "u", "ErrorChain": [{"ErrorCode": 9000, "Data": b"d"}], "At": datetime(2026, 1, 1)}
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ENCODINGS = ["hex", "base64", "rot13", "nonsense"]


def certification_request(key: rsa.RSAPrivateKey) -> bytes:
    """Return a PKCS#10 request with a challenge."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "n")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"c")
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@dataclass(frozen=True)
class Reader:
    """A whole message, what reads it, and the one error that may come of it."""

    whole: bytes
    read: Callable[[bytes], Any]
    error: type[Exception]


@pytest.fixture(scope="module")
def readers(rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> dict[str, Reader]:
    """Return every reader of a message that comes from outside."""
    authority = pki.Authority(certificate, rsa_key)
    request = certification_request(rsa_key)
    signed = signed_data.sign(b"content", certificate, rsa_key, {})
    pkcs_req = scep.pkcs_req(request, certificate, certificate, rsa_key, "t", bytes(16))
    return {
        "SyncML": Reader(SYNCML, syncml.parse, syncml.SyncMLError),
        "SOAP": Reader(SOAP, soap.parse_request, soap.SoapError),
        "plist": Reader(plistlib.dumps(REPORT), mdm.parse_dict, PlistError),
        "binary plist": Reader(plistlib.dumps(REPORT, fmt=plistlib.FMT_BINARY), mdm.parse_dict, PlistError),
        "CSR": Reader(request, lambda data: authority.issue(data, "n", NOW), pki.RequestRefused),
        "challenge": Reader(request, pki.challenge_of, pki.RequestRefused),
        "SignedData": Reader(signed, signed_data.verify, signed_data.SignatureProblem),
        "SCEP": Reader(pkcs_req, lambda data: scep.read_pkcs_req(data, certificate, rsa_key), scep.ScepError),
    }


def damaged(whole: bytes) -> Iterator[bytes]:
    """Yield a message with each of some of its bytes changed, and cut off there."""
    step = examples(max(1, len(whole) // 400), 1)
    for place in range(0, len(whole), step):
        for value in (0x00, 0x30, 0x7F, 0xFF, whole[place] ^ 1):
            yield whole[:place] + bytes([value]) + whole[place + 1 :]
        yield whole[:place]


@pytest.mark.parametrize("name", ["SyncML", "SOAP", "plist", "binary plist", "CSR", "challenge", "SignedData", "SCEP"])
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_damaged_message_is_refused_in_the_readers_own_words(name: str, readers: dict[str, Reader]) -> None:
    """Whatever byte of a message is damaged, its reader raises nothing but the error it documents."""
    reader, refused = readers[name], 0
    reader.read(reader.whole)
    for data in damaged(reader.whole):
        try:
            reader.read(data)
        except reader.error:
            refused += 1
    assert refused > len(reader.whole) // max(1, len(reader.whole) // 400) // 2


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", ["SyncML", "SOAP", "plist"])
def test_unknown_encoding_is_refused(name: str, encoding: str, readers: dict[str, Reader]) -> None:
    """XML in an encoding that no parser knows, or that is for no text, is no message."""
    reader = readers[name]
    data = reader.whole.replace(b"utf-8", encoding.encode()).replace(b"UTF-8", encoding.encode())
    with pytest.raises(reader.error, match="expected"):
        reader.read(data)
