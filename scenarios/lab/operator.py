"""What the person who runs a lab keeps in a file: the credentials of the seed, the passwords of users added later."""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pfxlab import private_file
from pfxlab.emulator.lab.seed import Credentials
from pfxlab.emulator.wire.files.damaged import reading


@dataclass
class Operator:
    """Credentials of the seed, and passwords by user principal name."""

    credentials: Credentials
    passwords: dict[str, str]

    def save(self, path: Path) -> None:
        """Write a file only its owner may read."""
        body = {"credentials": asdict(self.credentials), "passwords": self.passwords}
        private_file.replace(path, json.dumps(body, indent=2).encode())

    def password_of(self, upn: str) -> str:
        """Return a user's password, whatever the case of the name."""
        return next(secret for name, secret in self.passwords.items() if name.lower() == upn.lower())


def load_operator(path: Path) -> Operator | None:
    """Return what the file holds; None if there is none, or an earlier version's, which lacks credentials.

    Raises:
        Damaged: the file holds something else.

    """
    if not os.path.lexists(path):
        return None
    with reading(path, "the credentials of the lab's accounts", "delete that file to get new ones"):
        body = json.loads(path.read_text("utf-8"))
        names = {field.name for field in fields(Credentials)}
        if not names <= set(body["credentials"]):
            return None
        kept = {name: str(body["credentials"][name]) for name in names}
        return Operator(Credentials(**kept), {str(upn): str(secret) for upn, secret in body["passwords"].items()})
