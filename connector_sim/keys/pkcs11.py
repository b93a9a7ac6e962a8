"""Any PKCS#11 module as a key storage provider: keys that are made in the token and never leave it.

OAEP with SHA-2 is asked of the token first; one that refuses (SoftHSM 2.6.1 does) is asked for the raw operation, and
the padding is taken off here. PKCS#11 2.40: C_Decrypt, CKM_RSA_PKCS_OAEP, CKM_RSA_X_509.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import pkcs11
from cryptography.hazmat.primitives.asymmetric import rsa
from pkcs11 import MGF, Attribute, KeyType, Mechanism, ObjectClass

from pfxlab.connector_sim.errors import DecryptFailed, HsmUnavailable, KeyExists, KeyNotFound, NotExportable, PinRefused
from pfxlab.connector_sim.keys import oaep
from pfxlab.connector_sim.keys.padding import oaep as supported
from pfxlab.connector_sim.keys.provider import KeyInfo, check
from pfxlab.emulator.wire.enums import PaddingScheme

T = TypeVar("T")
_OAEP: Final = {
    PaddingScheme.oaepSha256: (Mechanism.SHA256, MGF.SHA256, None),
    PaddingScheme.oaepSha384: (Mechanism.SHA384, MGF.SHA384, None),
    PaddingScheme.oaepSha512: (Mechanism.SHA512, MGF.SHA512, None),
}
# What a module says when it cannot do a mechanism; other errors of C_Decrypt mean the ciphertext.
_CANNOT: Final = (
    pkcs11.exceptions.MechanismInvalid,
    pkcs11.exceptions.MechanismParamInvalid,
    pkcs11.exceptions.ArgumentsBad,
    pkcs11.exceptions.FunctionNotSupported,
)
_WRONG_PIN: Final = (
    pkcs11.exceptions.PinIncorrect,
    pkcs11.exceptions.PinInvalid,
    pkcs11.exceptions.PinLenRange,
    pkcs11.exceptions.PinLocked,
    pkcs11.exceptions.PinExpired,
)
_WRONG_INPUT: Final = (
    pkcs11.exceptions.EncryptedDataInvalid,
    pkcs11.exceptions.EncryptedDataLenRange,
    pkcs11.exceptions.DataInvalid,
    pkcs11.exceptions.DataLenRange,
)


@dataclass(frozen=True)
class TokenSettings:
    """Where a token is: module file, token label, and the file whose first line is the user PIN."""

    module: Path
    token_label: str
    pin_file: Path = field(repr=False)


class Pkcs11Ksp:
    """A provider by the name its vendor gives it, over one token.

    One session, one operation at a time: modules differ in what they let threads do, and one that is asked to look for
    its tokens again must have nobody inside.
    """

    def __init__(self, name: str, settings: TokenSettings) -> None:
        self.name = name
        self._settings = settings
        self._lock = threading.Lock()
        self._library: Any = None
        self._session: Any = None
        self._refused: tuple[int, int] | None = None
        self.native = True
        """Whether the token does OAEP itself; found out at the first decryption."""

    def _open(self) -> Any:
        if self._session is None:
            try:
                if self._refused is not None and self._refused == self._mark():
                    # Each try counts, and after a few the token locks itself: only another PIN is worth one.
                    raise PinRefused(f"expected another PIN for {self._settings.token_label!r}, got the one refused")
                pin = self._pin()
                if self._library is None:
                    self._library = pkcs11.lib(str(self._settings.module))
                token = self._library.get_token(token_label=self._settings.token_label)
                try:
                    self._session = token.open(rw=True, user_pin=pin)
                except pkcs11.exceptions.UserAlreadyLoggedIn:
                    # The login is the process's: another provider over the same token has made it.
                    self._session = token.open(rw=True)
            except _WRONG_PIN as error:
                self._refused = self._mark()
                raise PinRefused(
                    f"expected the PIN of the token {self._settings.token_label!r} in the PIN file,"
                    f" got one the token refuses ({type(error).__name__})"
                ) from None
            except (pkcs11.exceptions.PKCS11Error, RuntimeError, OSError) as error:
                raise HsmUnavailable(
                    f"expected the token {self._settings.token_label!r} of {self.name}, got {type(error).__name__}"
                ) from None
        return self._session

    def _mark(self) -> tuple[int, int]:
        """Return what changes when the PIN file is written anew."""
        seen = self._settings.pin_file.stat()
        return seen.st_ino, seen.st_mtime_ns

    def _pin(self) -> str:
        try:
            return self._settings.pin_file.read_text("utf-8-sig").partition("\n")[0].rstrip("\r")
        except UnicodeDecodeError:
            raise PinRefused(f"expected text in UTF-8 in the PIN file of {self.name}, got other bytes") from None

    def _do(self, work: Callable[[Any], T]) -> T:
        """Do something in the session; one that has died is opened anew once, as after a token that was away."""
        with self._lock:
            try:
                return work(self._open())
            except PinRefused:
                raise
            except (pkcs11.exceptions.PKCS11Error, HsmUnavailable):
                self._reload()
            try:
                return work(self._open())
            except pkcs11.exceptions.PKCS11Error as error:
                text = f"expected the token {self._settings.token_label!r} to answer, got {type(error).__name__}"
                raise HsmUnavailable(text) from None

    def _do_anew(self, work: Callable[[Any], T]) -> T:
        """Do something after a look whether the token is there: the keys of one that was removed are not missing."""
        with self._lock:
            self._reload()
        return self._do(work)

    def _reload(self) -> None:
        """Let the module look for its tokens again."""
        self._session = None
        if self._library is None:
            return
        try:
            self._library.reinitialize()
        except pkcs11.exceptions.PKCS11Error as error:
            raise HsmUnavailable(f"expected the module of {self.name} to start, got {type(error).__name__}") from None

    def _find(self, session: Any, kind: ObjectClass, key_name: str) -> Any:
        wanted = {Attribute.CLASS: kind, Attribute.KEY_TYPE: KeyType.RSA, Attribute.LABEL: key_name}
        return next(iter(session.get_objects(wanted)), None)

    def open(self, key_name: str) -> "Pkcs11Key":
        """Return a key; see `KeyStorageProvider`."""

        def look(session: Any) -> rsa.RSAPublicKey | None:
            if self._find(session, ObjectClass.PRIVATE_KEY, key_name) is None:
                return None
            public = self._find(session, ObjectClass.PUBLIC_KEY, key_name)
            if public is None:
                return None
            exponent = int.from_bytes(public[Attribute.PUBLIC_EXPONENT], "big")
            return rsa.RSAPublicNumbers(exponent, int.from_bytes(public[Attribute.MODULUS], "big")).public_key()

        public = self._do(look) or self._do_anew(look)
        if public is None:
            raise KeyNotFound(f"expected the key {key_name!r} in {self.name}, got none of that name")
        return Pkcs11Key(self, key_name, public)

    def add(self, key_name: str, bits: int = 2048, *, exportable: bool = False) -> "Pkcs11Key":
        """Make a key in the token; see `KeyStorageProvider`. None of them can be exported."""
        if exportable:
            raise NotExportable(f"expected a key that stays in {self.name}, got the wish to export it")
        check(key_name, bits)

        def make(session: Any) -> bool:
            if self._find(session, ObjectClass.PRIVATE_KEY, key_name) is not None:
                return False
            session.generate_keypair(
                KeyType.RSA,
                bits,
                id=key_name.encode()[:64],
                label=key_name,
                store=True,
                capabilities=pkcs11.MechanismFlag.ENCRYPT | pkcs11.MechanismFlag.DECRYPT,
                private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
            )
            return True

        if not self._do(make):
            raise KeyExists(f"expected a new name, got {key_name!r}, which exists; choose another one")
        return self.open(key_name)

    def store(self, key_name: str, key: rsa.RSAPrivateKey, *, exportable: bool = False) -> "Pkcs11Key":
        """Put an existing key into the token, where it stays; see `KeyStorageProvider`."""
        if exportable:
            raise NotExportable(f"expected a key that stays in {self.name}, got the wish to export it")
        check(key_name, key.key_size)
        numbers = key.private_numbers()
        public = numbers.public_numbers

        def octets(number: int) -> bytes:
            return number.to_bytes((number.bit_length() + 7) // 8, "big")

        common = {
            Attribute.KEY_TYPE: KeyType.RSA, Attribute.TOKEN: True, Attribute.LABEL: key_name,
            Attribute.ID: key_name.encode()[:64], Attribute.MODULUS: octets(public.n),
            Attribute.PUBLIC_EXPONENT: octets(public.e),
        }  # fmt: skip
        private = {
            Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.PRIVATE_EXPONENT: octets(numbers.d),
            Attribute.PRIME_1: octets(numbers.p), Attribute.PRIME_2: octets(numbers.q),
            Attribute.EXPONENT_1: octets(numbers.dmp1), Attribute.EXPONENT_2: octets(numbers.dmq1),
            Attribute.COEFFICIENT: octets(numbers.iqmp), Attribute.DECRYPT: True, Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False, Attribute.PRIVATE: True,
        }  # fmt: skip

        def put(session: Any) -> bool:
            if self._find(session, ObjectClass.PRIVATE_KEY, key_name) is not None:
                return False
            made = session.create_object({**common, **private})
            try:
                session.create_object({**common, Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ENCRYPT: True})
            except pkcs11.exceptions.PKCS11Error:
                # Half a key takes the name and is of no use.
                made.destroy()
                raise
            return True

        if not self._do(put):
            raise KeyExists(f"expected a new name, got {key_name!r}, which exists; choose another one")
        return self.open(key_name)

    def list_keys(self) -> list[KeyInfo]:
        """Return what RSA keys the token holds, by name."""

        def look(session: Any) -> list[KeyInfo]:
            wanted = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.KEY_TYPE: KeyType.RSA}
            return [
                KeyInfo(str(key.label), int.from_bytes(key[Attribute.MODULUS], "big").bit_length(), False)
                for key in session.get_objects(wanted)
            ]

        return sorted(self._do(look), key=lambda info: info.name.casefold())

    def remove(self, key_name: str) -> None:
        """Destroy a key in the token; see `KeyStorageProvider`."""

        def destroy(session: Any) -> bool:
            found = [self._find(session, k, key_name) for k in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY)]
            for key in found:
                if key is not None:
                    key.destroy()
            return found[0] is not None

        if not self._do(destroy):
            raise KeyNotFound(f"expected the key {key_name!r} in {self.name}, got none of that name")

    def decrypt(self, key_name: str, ciphertext: bytes, scheme: PaddingScheme) -> bytes | None:
        """Return what a key of the token makes of a ciphertext, or None when it is not for that key."""

        def work(session: Any) -> tuple[bool, bytes | None]:
            key = self._find(session, ObjectClass.PRIVATE_KEY, key_name)
            return (False, None) if key is None else (True, self._decrypt(session, key, ciphertext, scheme))

        found, plain = self._do(work)
        if not found:
            found, plain = self._do_anew(work)
        if not found:
            raise KeyNotFound(f"expected the key {key_name!r} in {self.name}, got none of that name")
        return plain

    def _decrypt(self, session: Any, key: Any, ciphertext: bytes, scheme: PaddingScheme) -> bytes | None:
        modulus = key[Attribute.MODULUS]
        if len(ciphertext) != len(modulus) or ciphertext >= modulus:
            return None
        try:
            return self._plain(key, ciphertext, scheme, len(modulus))
        except _WRONG_INPUT:
            return None
        except pkcs11.exceptions.PKCS11Error:
            # Some modules have but one error for all that is wrong with an input; a token that is gone has no keys.
            if self._find(session, ObjectClass.PRIVATE_KEY, str(key.label)) is None:
                raise
            return None

    def _plain(self, key: Any, ciphertext: bytes, scheme: PaddingScheme, width: int) -> bytes | None:
        if self.native:
            try:
                return bytes(key.decrypt(ciphertext, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=_OAEP[scheme]))
            except _CANNOT:
                self.native = False
        raw = bytes(key.decrypt(ciphertext, mechanism=Mechanism.RSA_X_509))
        return oaep.decode(raw.rjust(width, b"\0"), scheme)


@dataclass(frozen=True)
class Pkcs11Key:
    """A key in a token: its name, and the public half read from there."""

    _ksp: Pkcs11Ksp = field(repr=False)
    name: str
    _public: rsa.RSAPublicKey = field(repr=False)

    def decrypt(self, ciphertext: bytes, scheme: PaddingScheme) -> bytes:
        """Return the plaintext; see `DecryptionKey`."""
        supported(scheme)
        plain = self._ksp.decrypt(self.name, ciphertext, scheme)
        if plain is None:
            raise DecryptFailed(
                f"expected a password encrypted to the key {self.name!r} with {scheme.name}, got one that is not"
            )
        return plain

    def public_key(self) -> rsa.RSAPublicKey:
        """Return the public half."""
        return self._public

    def private_key(self) -> rsa.RSAPrivateKey:
        """Refuse: the key stays in the token."""
        raise NotExportable(f"expected an exportable key, got {self.name!r}, which stays in {self._ksp.name}")
