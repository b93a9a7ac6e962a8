"""Decoders of what comes from outside: a small input costs little, and a large one is refused before it costs much."""

import plistlib
import time
from typing import Any

import pytest

from pfxlab.emulator.wire import jsontext, signed_data
from pfxlab.emulator.wire.apple import plist
from pfxlab.emulator.wire.omadm import provisioning, soap, syncml
from pfxlab.emulator.wire.schemas import first_problem

BINARY = plistlib.FMT_BINARY


def binary(*objects: bytes) -> bytes:
    """Return a binary property list of encoded objects, the first of them the top one (CFBinaryPList.c)."""
    data, offsets = b"bplist00", []
    for one in objects:
        offsets.append(len(data))
        data += one
    table = b"".join(offset.to_bytes(2) for offset in offsets)
    return data + table + bytes(6) + b"\x02\x01" + len(objects).to_bytes(8) + bytes(8) + len(data).to_bytes(8)


SHARED = binary(*[bytes([0xA8, *([level + 1] * 8)]) for level in range(13)], b"\xd0")
"""Thirteen arrays, each of eight times the next: 8^13 values in 197 bytes."""

ITSELF = binary(b"\xa1\x00")
TEXT_OFTEN = binary(bytes([0xAF, 0x11, 0x10, 0x00, *([1] * 4096)]), b"\x5f\x11\x40\x00" + b"x" * 0x4000)
HUGE = binary(b"\x1f" + b"\x7f" * 2**15)
DEEP = binary(*[bytes([0xA1, level + 1]) for level in range(60)], b"\xd0")


def test_shared_references_fit_in_few_bytes() -> None:
    """The list of the next test is as small as the one that stopped a lab."""
    assert len(SHARED) < 250
    assert plistlib.loads(binary(b"\xa1\x01", b"\xd0")) == [{}]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (SHARED, "names its objects once"),
        (TEXT_OFTEN, "names its objects once"),
        (ITSELF, "at most 40 deep"),
        (DEEP, "at most 40 deep"),
        (HUGE, "at most 64 bits"),
        (b"bplist00" + bytes(300_000), "at most 262144 bytes"),
        (plistlib.dumps([True] * 110_000), "at most 100,000 tags"),
        (b"<plist>" + b"<array>" * 45_000 + b"</array>" * 45_000 + b"</plist>", "at most 40 deep"),
        (b"<plist><integer>0x" + b"f" * 100_000 + b"</integer></plist>", "at most 64 bits"),
        (b"<plist><integer>" + b"9" * 5_000 + b"</integer></plist>", "bytes that are not one"),
        (b"<plist><date>" + b"9" * 100_000 + b"</date></plist>", "bytes that are not one"),
    ],
    ids=("shared", "text", "itself", "deep", "huge", "large", "tags", "deep xml", "hex", "digits", "date"),
)
def test_property_list_beyond_its_bounds_is_refused(data: bytes, said: str) -> None:
    """What would take minutes or gigabytes when walked or shown is refused with a sentence that is itself short."""
    begin = time.thread_time()
    with pytest.raises(plist.PlistError, match=said) as refused:
        plist.load(data)
    assert time.thread_time() - begin < 2
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("form", [plistlib.FMT_XML, BINARY], ids=("xml", "binary"))
def test_property_lists_of_usual_size_are_read(form: plistlib.PlistFormat) -> None:
    """An answer with a hundred certificates, the same texts in many places, and numbers of 64 bits are no excess."""
    value = {
        "CertificateList": [{"CommonName": "PFX Lab", "Data": bytes(2000)}] * 100,
        "Size": 2**64 - 1,
        "Low": -(2**63),
    }
    assert plist.load(plistlib.dumps(value, fmt=form)) == value


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[" * 65 + b"]" * 65, "nested at most 64 deep"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nested at most 64 deep"),
        (b"[" * 15_000, "strict JSON"),
        (b"[" + b"0," * 20_000 + b"0]", "at most 20,000 values, got up to 20,001"),
        (b"[" * 5_000_000, "at most 20,000 values"),
        (b"18446744073709551616", "at most 64 bits, got one of 65"),
        (b"9" * 4000, "64 bits"),
        (b"9" * 5000, "strict JSON"),
    ],
    ids=("arrays", "objects", "open", "values", "brackets", "65 bits", "digits", "more digits"),
)
def test_json_beyond_its_bounds_is_refused(data: bytes, said: str) -> None:
    """Depth, number of values and whole numbers of JSON are bounded, the number before anything is read."""
    begin = time.thread_time()
    with pytest.raises(ValueError, match=said):
        jsontext.decode(data)
    assert time.thread_time() - begin < 2


def test_json_within_its_bounds_is_read() -> None:
    """Sixty-four levels, numbers of 64 bits and as many values as are allowed are read."""
    deep: Any = 2**64 - 1
    for _ in range(64):
        deep = [deep]
    assert jsontext.decode(jsontext.encode(deep)) == deep
    assert jsontext.decode(b"[" + b"0," * 19_998 + b"0]") == [0] * 19_999


@pytest.mark.parametrize("read", [syncml.parse, soap.parse_request, provisioning.parse], ids=("SyncML", "SOAP", "XML"))
def test_xml_of_too_many_tags_is_refused(read: Any) -> None:
    """A message of millions of elements is refused by their number, one of deep nesting is read and refused."""
    begin = time.thread_time()
    for data in (b"<a>" + b"<b/>" * 1_000_000 + b"</a>", b"<a>" * 45_000 + b"</a>" * 45_000):
        with pytest.raises(ValueError, match="expected"):
            read(data)
    assert time.thread_time() - begin < 4


def der(tag: int, *inside: bytes) -> bytes:
    """Return a value of DER with the long form of its length (X.690, section 8.1.3.5)."""
    content = b"".join(inside)
    return bytes([tag, 0x84]) + len(content).to_bytes(4) + content


def signed(certificates: bytes, signers: bytes) -> bytes:
    """Return CMS SignedData with these certificates and signers (RFC 5652, section 5.1)."""
    data, kind = bytes.fromhex("06092a864886f70d010701"), bytes.fromhex("06092a864886f70d010702")
    content = der(0x30, data, der(0xA0, der(0x04, b"content")))
    parts = (b"\x02\x01\x01", der(0x31), content, der(0xA0, certificates), der(0x31, signers))
    return der(0x30, kind, der(0xA0, der(0x30, *parts)))


@pytest.mark.parametrize(
    "data",
    [signed(b"\x30\x00" * 1_000_000, b"\x30\x00"), signed(b"", b"\x30\x00" * 1_000_000), b"\x30\x80" * 1_000_000],
    ids=("certificates", "signers", "nesting"),
)
def test_signed_data_beyond_its_bounds_is_refused(data: bytes) -> None:
    """A million certificates or signers are refused by their number, before a library reads the first of them."""
    begin = time.thread_time()
    with pytest.raises(signed_data.SignatureProblem, match="expected BER"):
        signed_data.verify(data)
    assert time.thread_time() - begin < 1


def test_why_a_body_does_not_fit_is_found_in_little_time() -> None:
    """The first of a million problems of a body costs no more than that of a small one."""
    begin = time.thread_time()
    assert first_problem("batch", {"requests": [1] * 1_000_000}) is not None
    assert time.thread_time() - begin < 4
