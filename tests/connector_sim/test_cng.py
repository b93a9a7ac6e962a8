import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from pfxlab.connector_sim.keys import cng
from tests.connector_sim.vectors import RSA_2048_N, small_key


def test_public_blob_has_the_published_layout(rsa_key: rsa.RSAPrivateKey) -> None:
    """An RSAPUBLICBLOB is 283 bytes for RSA-2048: header RSA1, little-endian sizes, exponent, modulus."""
    numbers = rsa_key.public_key().public_numbers()
    blob = cng.public_blob(rsa_key.public_key())
    sizes = bytes.fromhex("0008000003000000000100000000000000000000")
    assert blob == b"RSA1" + sizes + bytes.fromhex("010001") + numbers.n.to_bytes(256, "big")
    assert len(blob) == 283


@pytest.mark.parametrize(("full", "magic", "size"), [(False, b"RSA2", 539), (True, b"RSA3", 1179)])
def test_private_blob_has_the_published_size(rsa_key: rsa.RSAPrivateKey, full: bool, magic: bytes, size: int) -> None:
    """RSAPRIVATEBLOB and RSAFULLPRIVATEBLOB of RSA-2048 are 539 and 1179 bytes and begin RSA2 and RSA3."""
    blob = cng.private_blob(rsa_key, full=full)
    assert (blob[:4], len(blob)) == (magic, size)


def test_full_blob_has_its_fields_in_order(rsa_key: rsa.RSAPrivateKey) -> None:
    """After the modulus follow both primes, both CRT exponents, the coefficient and the private exponent."""
    numbers = rsa_key.private_numbers()
    tail = cng.private_blob(rsa_key)[24 + 3 + 256 :]
    parts = [tail[i * 128 : (i + 1) * 128] for i in range(5)] + [tail[640:]]
    wanted = [numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp, numbers.d]
    assert [int.from_bytes(part, "big") for part in parts] == wanted


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([1024, 1031, 1500, 2048]), st.integers(0, 3), st.booleans())
def test_private_key_survives_its_blob(bits: int, index: int, full: bool) -> None:
    """A key of any size, odd widths included, survives the round trip through its blob."""
    key = small_key(bits, index)
    loaded = cng.load_private(cng.private_blob(key, full=full)).private_numbers()
    before = key.private_numbers()
    assert (loaded.public_numbers, {loaded.p, loaded.q}) == (before.public_numbers, {before.p, before.q})
    assert cng.load_public(cng.public_blob(key.public_key())).public_numbers() == before.public_numbers


@given(st.binary(max_size=64))
def test_other_bytes_are_refused(data: bytes) -> None:
    """Bytes that are not a blob are refused with an error that says what was expected."""
    with pytest.raises(cng.BlobError, match="expected"):
        cng.load_private(data)


def test_truncated_blob_is_refused_by_length(rsa_key: rsa.RSAPrivateKey) -> None:
    """The error for a truncated blob has the length that its header declares."""
    with pytest.raises(cng.BlobError, match="expected 283 bytes"):
        cng.load_public(cng.public_blob(rsa_key.public_key())[:-1])


def test_private_blob_is_not_taken_for_a_public_one(rsa_key: rsa.RSAPrivateKey) -> None:
    """Loading a private blob as a public key is refused by its magic."""
    with pytest.raises(cng.BlobError, match="expected magic RSA1"):
        cng.load_public(cng.private_blob(rsa_key))


def test_changed_modulus_is_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    """A private blob whose modulus is not the product of its primes is refused."""
    blob = bytearray(cng.private_blob(rsa_key))
    blob[24 + 3 + 255] ^= 2
    with pytest.raises(cng.BlobError, match="product of both primes"):
        cng.load_private(bytes(blob))


def test_reads_a_blob_assembled_by_hand() -> None:
    """A public blob written down byte by byte from the published layout is read as its numbers."""
    blob = b"RSA1" + bytes.fromhex("0008000003000000000100000000000000000000010001") + bytes.fromhex(RSA_2048_N)
    numbers = cng.load_public(blob).public_numbers()
    assert (numbers.e, format(numbers.n, "x")) == (65537, RSA_2048_N)
