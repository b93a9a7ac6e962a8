"""Values that a test lab hands out: findings that say why, certificates with their PFX, answers of Graph."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from cryptography import x509

from pfxlab import private_file

T = TypeVar("T")

_SHOWN: Final = 220
"""Characters of an explanation in an assertion; pytest shows no more of it there."""


class Finding:
    """A yes or no with its reason: its truth value is for assertions, its repr shows the reason."""

    def __init__(self, *, so: bool, why: str) -> None:
        self._so, self.why = so, why

    def __bool__(self) -> bool:
        """Return whether it is so."""
        return self._so

    def __repr__(self) -> str:
        """Return the reason, short enough for pytest's output."""
        return self.why if len(self.why) <= _SHOWN else f"{self.why[: _SHOWN - 1]}…"


@dataclass(frozen=True)
class Certificate:
    """A certificate of the test CA with its PFX and password."""

    name: str
    upn: str
    thumbprint: str
    pfx: bytes = field(repr=False)
    password: str = field(repr=False)
    certificate: x509.Certificate = field(repr=False)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write PFX and password (first line) into files only their owner may read; return both paths."""
        paths = folder / f"{self.name}.pfx", folder / f"{self.name}.password.txt"
        private_file.replace(paths[0], self.pfx)
        private_file.replace(paths[1], f"{self.password}\n".encode())
        return paths


@dataclass(frozen=True)
class Answer:
    """An answer of Graph's: status, headers with lower-case names, the JSON body or None."""

    status: int
    headers: Mapping[str, str]
    body: Any

    def __getitem__(self, name: str) -> Any:
        """Return a property of the body."""
        return self.body[name]


class Call(Protocol):
    """Runs a function in the lab's thread and returns its result."""

    def __call__(self, work: Callable[[], T]) -> T:
        """Run it there."""
        ...
