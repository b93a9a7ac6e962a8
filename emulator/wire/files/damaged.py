"""Files that cannot be read as what they should be: one error for all parties, which says what to do about it.

A folder of entries (devices, connectors, certificates, reports) goes on without the entry that is damaged and shows it
as such; what everything depends on ends a command with exit code 3. Pure: the files are read by whoever owns them.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from pfxlab.private_file import NotOurs

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

COPY_OR_NEW_LAB: Final = "put it back from a copy, or start a new lab with another --data"
"""What to do about a file that cannot be made again, and on which others depend."""

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


@dataclass(frozen=True)
class DamagedEntry:
    """An entry that is shown as damaged while everything else goes on.

    `kind`: device, certificate, connector or key; `name`: as the lab calls it; `id`: the device's or connector's in the
    service, empty when that is not known.
    """

    kind: str
    name: str
    problem: Damaged
    id: str = ""

    def to_json(self) -> dict[str, str]:
        """Return it as JSON values."""
        whole, problem = str(self.problem), self.problem
        return {"kind": self.kind, "name": self.name, "id": self.id, "file": str(problem.path), "problem": whole}


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
    if isinstance(error, NotOurs):
        return "a link, a device or a pipe"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "a folder"
    if isinstance(error, PermissionError):
        return "a file that this account may not read"
    return (error.strerror or type(error).__name__)[:_LONGEST_CAUSE]
