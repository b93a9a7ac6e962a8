"""Progress of a running command: one line per hop, with time and party. Silent for --json."""

import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.text import Text

_STYLES = {"admin": "cyan", "cloud": "blue", "connector": "magenta", "device": "green", "proof": "bold"}


@dataclass
class Progress:
    """Collects hops and, unless quiet, prints each as it happens."""

    console: Console
    quiet: bool = False
    hops: list[dict[str, Any]] = field(default_factory=list)
    _begin: float = field(default_factory=time.monotonic)

    def hop(self, party: str, text: str, *, ok: bool = True) -> None:
        """Note a hop: who did what."""
        seconds = round(time.monotonic() - self._begin, 3)
        self.hops.append({"seconds": seconds, "party": party, "text": text, "ok": ok})
        if not self.quiet:
            line = Text(f"{seconds:6.2f} s  ")
            line.append(f"{party:<10}", style=_STYLES.get(party, ""))
            line.append(f" {text}", style="" if ok else "bold red")
            self.console.print(line, soft_wrap=True)
