"""Damaged files of the user's: bundles, YAML, ready files, PFX and key blobs, read as the commands read them."""

import contextlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.connector_sim.errors import ConnectorError
from pfxlab.connector_sim.keys import cng
from pfxlab.connector_sim.pfx import open_pfx
from pfxlab.emulator.lab.snapshot import BadSnapshot
from pfxlab.scenarios.commands.parties.pfx_files import _manifest_rows
from pfxlab.scenarios.commands.ready_file import ready_facts
from pfxlab.scenarios.control import bundle
from pfxlab.scenarios.lab.config_file import ConfigProblem, read_config
from pfxlab.scenarios.lab.snapshots import archive
from pfxlab.scenarios.load.plan_file import PlanProblem, read_plan
from pfxlab.scenarios.mail.authority import export_pfx
from pfxlab.scenarios.scenario.loader import ScenarioProblem, read_scenario
from tests.attack.damage import Damage, changed_byte, cut, inserted, junk, odd_value
from tests.attack.recording import Recorded
from tests.conftest import self_signed
from tests.scenarios.lab.test_config_file import EXAMPLE
from tests.test_house_rules import ROOT

PASSWORD = "attack"

_KINDS: tuple[Damage, ...] = (changed_byte, cut, inserted, junk)


def damaged(like: Recorded, body: bytes, random: Random, *more: Damage) -> bytes:
    """Return some bytes with one kind of damage."""
    return random.choice((*_KINDS, *more))(replace(like, body=body), random).body


def odd_archive(like: Recorded, whole: bytes, random: Random) -> bytes:
    """Return a damaged archive, or a sound one around a damaged manifest."""
    if random.random() < 0.5:
        return damaged(like, whole, random)
    held = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as before, zipfile.ZipFile(held, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            after.writestr(name, damaged(like, data, random, *[odd_value] * 6) if name.endswith(".json") else data)
    return held.getvalue()


@dataclass
class Files:
    """Sound files by kind; `read_one` damages one of them and reads it. `folder`: where it is written."""

    folder: Path
    bundle: bytes
    ready: bytes = (
        b'{"graph_url": "https://localhost:1", "ca_file": "ca.pem", "control_token": "t", "control_url": "u"}'
    )
    snapshot: bytes = b""
    pfx: bytes = b""
    blobs: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def made(cls, folder: Path, whole: bytes, key: rsa.RSAPrivateKey, snapshot: bytes = b"") -> "Files":
        """Return files around a key, a bundle and, if there is one, a snapshot."""
        pfx = export_pfx("n", key, self_signed(key), PASSWORD)
        blobs = {"public": cng.public_blob(key.public_key()), "private": cng.private_blob(key)}
        return cls(folder, whole, snapshot=snapshot, pfx=pfx, blobs=blobs)

    def readers(self) -> dict[str, Callable[[Recorded, Random], object]]:
        """Return, by kind, what damages a file of it and reads that."""

        def text(whole: bytes, read: Callable[[Path], object], *more: Damage) -> Callable[[Recorded, Random], object]:
            def one(like: Recorded, random: Random) -> object:
                path = self.folder / "attack.file"
                path.write_bytes(damaged(like, whole, random, *more))
                return read(path)

            return one

        def snapshot(like: Recorded, random: Random) -> None:
            path = self.folder / "attack.snapshot"
            path.write_bytes(odd_archive(like, self.snapshot or self.bundle, random))
            archive.read(path)

        catalogue = (ROOT / "scenarios/scenario/catalogue/connector-down-and-back.yaml").read_bytes()
        plan = (ROOT / "scenarios/load/plans/graph.yaml").read_bytes()
        rows = (
            b"pfx,password_file,upn,purpose\na.pfx,a.txt,user@pfxlab.example,smimeSigning\nb.pfx,b.txt,u@x.example,\n"
        )
        return {
            "bundle": lambda like, random: json.dumps(bundle.unpack(odd_archive(like, self.bundle, random)).start),
            "configuration": text(EXAMPLE.encode(), lambda path: read_config(path, None)),
            "scenario": text(catalogue, read_scenario),
            "plan": text(plan, read_plan),
            "ready file": text(self.ready, lambda path: ready_facts(path), odd_value, odd_value),
            "manifest": text(rows, lambda path: _manifest_rows(path, "auto", "oaepSha512")),
            "snapshot": snapshot,
            "pfx": lambda like, random: open_pfx(damaged(like, self.pfx, random), PASSWORD),
            "public blob": lambda like, random: cng.load_public(damaged(like, self.blobs["public"], random)),
            "private blob": lambda like, random: cng.load_private(damaged(like, self.blobs["private"], random)),
        }


_OWN = (
    bundle.BadBundle, BadSnapshot, ConfigProblem, ScenarioProblem, PlanProblem, ConnectorError, cng.BlobError, SystemExit,
)  # fmt: skip
"""Errors that each say in a sentence what is wrong; `SystemExit` is that of a command that has said it."""


def read_one(files: Files, like: Recorded, random: Random) -> str | None:
    """Read a damaged file; return what was raised beside a reader's own error."""
    readers = files.readers()
    name = random.choice(list(readers))
    try:
        # What commands say about a file is not what is looked for.
        with contextlib.redirect_stderr(io.StringIO()):
            readers[name](like, random)
    except _OWN:
        return None
    except Exception as error:
        return f"{name}: {type(error).__name__}: {str(error)[:120]}"
    return None
