"""Damaged files of the user's: a bundle and a configuration, read as the commands read them."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from random import Random

from pfxlab.scenarios.control import bundle
from pfxlab.scenarios.lab.config_file import ConfigProblem, read_config
from tests.attack.damage import Damage, changed_byte, cut, inserted, junk, odd_value
from tests.attack.recording import Recorded
from tests.scenarios.lab.test_config_file import EXAMPLE

_KINDS: tuple[Damage, ...] = (changed_byte, cut, inserted, junk)


def _damaged(like: Recorded, body: bytes, random: Random, *more: Damage) -> bytes:
    return random.choice((*_KINDS, *more))(replace(like, body=body), random).body


def _odd_bundle(like: Recorded, whole: bytes, random: Random) -> bytes:
    """Return a damaged archive, or a sound one around a damaged manifest."""
    if random.random() < 0.5:
        return _damaged(like, whole, random)
    held = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as before, zipfile.ZipFile(held, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            after.writestr(name, _damaged(like, data, random, *[odd_value] * 6) if name.endswith(".json") else data)
    return held.getvalue()


def read_one(folder: Path, like: Recorded, whole: bytes, random: Random) -> str | None:
    """Read a damaged bundle or configuration; return what was raised beside a reader's own error."""
    try:
        if random.random() < 0.5:
            json.dumps(bundle.unpack(_odd_bundle(like, whole, random)).start)
        else:
            path = folder / "attack.yaml"
            path.write_bytes(_damaged(like, EXAMPLE.encode(), random))
            read_config(path)
    except (bundle.BadBundle, ConfigProblem):
        return None
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:120]}"
    return None
