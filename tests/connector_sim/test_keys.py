import errno
import io
import stat
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from asn1crypto import keys as asn1_keys
from asn1crypto import pem
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.connector_sim.errors import KeyExists, KeyNotFound, KeyStoreError, ProviderUnknown
from pfxlab.connector_sim.keys.padding import encrypt
from pfxlab.connector_sim.keys.provider import Providers
from pfxlab.connector_sim.keys.software import PROVIDER_NAME, SoftwareKsp
from pfxlab.emulator.wire.enums import PaddingScheme


def test_key_is_there_for_the_next_process(tmp_path: Path) -> None:
    """A key made by one process decrypts in another that opens the same folder."""
    made = SoftwareKsp(tmp_path / "keys").add("PFX key / 1")
    encrypted = encrypt(made.public_key(), b"secret", PaddingScheme.oaepSha512)
    again = SoftwareKsp(tmp_path / "keys").open("PFX key / 1")
    assert again.decrypt(encrypted, PaddingScheme.oaepSha512) == b"secret"


def test_key_file_is_its_owners_only(tmp_path: Path) -> None:
    """A key's file has mode 0600, and no partial file is left beside it."""
    SoftwareKsp(tmp_path / "keys").add("k")
    (file,) = (tmp_path / "keys").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_existing_key_is_not_overwritten(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    """Adding a key under a name in use is refused and the old key stays."""
    ksp = SoftwareKsp(tmp_path)
    before = ksp.add("k").public_key()
    with pytest.raises(KeyExists, match="'k', which exists"):
        ksp.store("k", rsa_key)
    assert SoftwareKsp(tmp_path).open("k").public_key() == before


def test_key_removed_by_another_process_is_missing(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    """A key that another process removed is missing even if it was used before, and a new key of that name is used."""
    running, other = SoftwareKsp(tmp_path), SoftwareKsp(tmp_path)
    first = other.add("k").public_key()
    assert running.open("k").public_key() == first
    other.remove("k")
    with pytest.raises(KeyNotFound):
        running.open("k")
    other.store("k", rsa_key)
    assert running.open("k").public_key() == rsa_key.public_key()


def test_no_half_key_is_left_on_a_full_disk(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    """When the disk is full, no part of a new key is left behind."""

    class FullDisk(io.FileIO):
        def write(self, data: Any) -> int:
            super().write(data[:100])
            raise OSError(errno.ENOSPC, "No space left on device")

    with patch("pfxlab.private_file.os.fdopen", FullDisk), pytest.raises(OSError, match="No space left"):
        SoftwareKsp(tmp_path / "keys").store("k", rsa_key)
    assert list((tmp_path / "keys").iterdir()) == []


def test_missing_key_is_named(tmp_path: Path) -> None:
    """The error for a missing key names the key and the provider."""
    with pytest.raises(KeyNotFound, match=f"'absent' in {PROVIDER_NAME}"):
        SoftwareKsp(tmp_path).open("absent")


def test_broken_key_file_is_refused(tmp_path: Path) -> None:
    """A file without a key is refused, and the message does not contain its content."""
    ksp = SoftwareKsp(tmp_path)
    ksp.path("k").write_text("canary")
    with pytest.raises(KeyStoreError) as refused:
        ksp.open("k")
    assert "canary" not in str(refused.value)


def test_key_file_with_other_numbers_is_refused(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    """A key file whose modulus is not the product of its primes is refused, though its structure is right."""
    pkcs8 = serialization.PrivateFormat.PKCS8
    info = asn1_keys.PrivateKeyInfo.load(
        rsa_key.private_bytes(serialization.Encoding.DER, pkcs8, serialization.NoEncryption())
    )
    numbers = info["private_key"].parsed
    numbers["modulus"] = numbers["modulus"].native + 2
    info["private_key"] = numbers
    ksp = SoftwareKsp(tmp_path)
    ksp.path("k").write_bytes(pem.armor("PRIVATE KEY", info.dump(force=True)))
    with pytest.raises(
        KeyStoreError, match="expected the RSA key 'k', got an RSA key whose numbers do not fit together"
    ):
        ksp.open("k")


def test_odd_key_size_is_refused(tmp_path: Path) -> None:
    """A key size that the import cmdlets do not offer is refused before a key is generated."""
    with pytest.raises(KeyStoreError, match="got 1024"):
        SoftwareKsp(tmp_path).add("k", 1024)


def test_unknown_provider_lists_those_installed(tmp_path: Path) -> None:
    """A record that names another provider is refused with the providers of this server."""
    with pytest.raises(ProviderUnknown, match=r"\(Microsoft Software Key Storage Provider\), got 'Smart Card'"):
        Providers([SoftwareKsp(tmp_path)]).open("Smart Card", "k")


def test_provider_names_match_in_any_case(tmp_path: Path) -> None:
    """CNG compares provider names without regard to case, and so does the connector."""
    ksp = SoftwareKsp(tmp_path)
    made = ksp.add("k").public_key()
    assert Providers([ksp]).open(PROVIDER_NAME.upper(), "k").public_key() == made


def test_key_does_not_show_itself(tmp_path: Path) -> None:
    """The repr of an opened key has only its name and size."""
    assert repr(SoftwareKsp(tmp_path).add("k")) == "SoftwareKey('k', RSA-2048)"
