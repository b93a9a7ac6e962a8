"""Files that cannot be read as what they should be: one error for all parties, which says what to do about it.

A folder of entries (devices, connectors, certificates, reports) goes on without the entry that is damaged and shows it
as such; what everything depends on ends a command with exit code 3. Pure: the files are read by whoever owns them.
"""

import contextlib
from collections.abc import Iterator
from pathlib import PurePath
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

_D = TypeVar("_D", bound="Damaged")

UNREADABLE: Final = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
    UnsupportedAlgorithm,
    InvalidSignature,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What parsers raise over bytes that are not theirs: json, cryptography, and our own over the values in between."""

_LONGEST_CAUSE: Final = 120


class Damaged(Exception):
    """A file that is missing, cannot be read, or holds something else. No message repeats what is in it.

    `path`: the file; `expected`, `got` and `remedy` are phrases of the message.
    """

    def __init__(self, path: PurePath, expected: str, got: str, remedy: str) -> None:
        super().__init__(f"{path}: expected {expected}, got {got}; {remedy}")
        self.path, self.expected, self.got, self.remedy = path, expected, got, remedy

    def __reduce__(self) -> tuple[type["Damaged"], tuple[PurePath, str, str, str]]:
        """Let it pass between processes."""
        return type(self), (self.path, self.expected, self.got, self.remedy)


class Unusable(ValueError):
    """Bytes that are not what they should be; the text is a phrase without any of them, to follow `got`."""


@contextlib.contextmanager
def reading(path: PurePath, expected: str, remedy: str, kind: type[Damaged] = Damaged) -> Iterator[None]:
    """Let whatever goes wrong over a file in this block come out as a `Damaged` of that kind.

    Raises:
        Damaged: it is missing, cannot be read or written, or what parses it refused it.

    """
    try:
        yield
    except Damaged:
        raise
    except OSError as error:
        raise kind(path, expected, _problem(error), remedy) from None
    except UNREADABLE as error:
        got = str(error) if isinstance(error, Unusable) else "something else"
        raise kind(path, expected, got, remedy) from None


def _problem(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "a folder"
    if isinstance(error, PermissionError):
        return "a file that this account may not read"
    return (error.strerror or type(error).__name__)[:_LONGEST_CAUSE]
