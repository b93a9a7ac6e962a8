"""Removes secrets and unprintable characters from everything that is reported about a tool. Pure."""

import base64
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final
from urllib.parse import quote, quote_plus

_SHORTEST: Final = 6
"""Shortest secret, in characters: shorter ones would match harmless text too."""

_SHAPES: Final = (
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        "private key",
    ),
    (re.compile(r"eyJ[\w-]{10,}\.[\w-]+\.?[\w-]*"), "token"),
)
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Control characters, which terminals interpret and XML forbids, and lone surrogates."""


class Scrub:
    """Replaces secrets by their names, in every form in which tools send them, and whatever looks like a key."""

    def __init__(self, held: Iterable[tuple[str, str | None]]) -> None:
        """Take names and secrets; empty and very short ones are ignored."""
        named: dict[str, str] = {}
        for name, secret in held:
            if secret is not None and len(secret) >= _SHORTEST:
                named |= dict.fromkeys(forms(secret), name)
        self._names = named
        # The longest first: one form may contain another.
        self._found = re.compile("|".join(map(re.escape, sorted(named, key=len, reverse=True)))) if named else None

    def __call__(self, text: str) -> str:
        """Return a text that can be shown anywhere."""
        if self._found is not None:
            text = self._found.sub(lambda found: f"[{self._names[found.group()]}]", text)
        for shape, name in _SHAPES:
            text = shape.sub(f"[{name}]", text)
        return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def forms(secret: str) -> set[str]:
    """Return the forms in which tools send or print a secret: clear, base64, percent-encoded."""
    plain = secret.encode("utf-8", "surrogateescape")
    encoded = base64.b64encode(plain).decode()
    spelt: tuple[Callable[[str], str], ...] = (str, quote, quote_plus, partial(quote, safe=""))
    return {how(text) for text in (secret, encoded, encoded.rstrip("=")) for how in spelt}
