"""What a load generator needs, in one folder that can be copied to another machine. Its mode is 0700: it holds keys.

plan.json, facts.json, ca.pem, public.pem   the plan; the lab's addresses and sign-in, as in a ready file
users.json                                  the users created for the run, with their passwords
bodies.json                                 graph: imports with real certificates and encrypted passwords
keys/, connectors/NUMBER, work.json         connector, crypto: the key, each generator's identity, prepared requests
fleet/, tokens.json                         checkin, enrollment: devices, their users' tokens
"""

import json
import shutil
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from pfxlab import private_file
from pfxlab.emulator.wire.files.damaged import reading
from pfxlab.scenarios.load.plan_file import LoadPlan, Threshold
from pfxlab.scenarios.load.shapes import Shape


class Kit:
    """The folder of a load run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def plan(self) -> LoadPlan:
        """Return the plan of the run.

        Raises:
            Damaged: the file holds no plan.

        """
        path = self.folder / "plan.json"
        with reading(path, "the plan of a load run", "copy the kit again"):
            body = json.loads(path.read_text("utf-8"))
            thresholds = tuple(Threshold(**one) for one in body.pop("thresholds"))
            return LoadPlan(shape=Shape(**body.pop("shape")), thresholds=thresholds, **body)

    @property
    def ca_file(self) -> Path:
        """Return the CA to trust."""
        return self.folder / "ca.pem"

    @property
    def keys(self) -> Path:
        """Return the folder of the connector's key store, which also holds the pool of device keys."""
        return self.folder / "keys"

    @property
    def connectors(self) -> Path:
        """Return the folder with a connector's identity for each load generator."""
        return self.folder / "connectors"

    @property
    def work(self) -> Path:
        """Return the file of prepared requests, in the format of the service."""
        return self.folder / "work.json"

    @property
    def fleet(self) -> Path:
        """Return the folder of the devices."""
        return self.folder / "fleet"

    @property
    def url(self) -> str:
        """Return the target's address."""
        return str(self.facts()["graph_url"])

    def facts(self) -> dict[str, Any]:
        """Return the facts of the ready file, with the paths of the kit's own copies."""
        facts: dict[str, Any] = json.loads((self.folder / "facts.json").read_text("utf-8"))
        here = {"ca_file": str(self.ca_file), "connector_public_key_file": str(self.folder / "public.pem")}
        return {**facts, **here}

    def bodies(self) -> list[dict[str, Any]]:
        """Return records to import."""
        found: list[dict[str, Any]] = json.loads((self.folder / "bodies.json").read_text("utf-8"))
        return found

    def users(self) -> list[str]:
        """Return the names of the users created for the run."""
        return list(json.loads((self.folder / "users.json").read_text("utf-8")))

    def tokens(self) -> dict[str, str]:
        """Return the users' names and tokens."""
        found: dict[str, str] = json.loads((self.folder / "tokens.json").read_text("utf-8"))
        return found

    def save(self, name: str, value: object) -> None:
        """Write a value as JSON to a file of the kit that only its owner may read."""
        private_file.replace(self.folder / name, json.dumps(value).encode())


def new_kit(folder: Path, plan: LoadPlan, facts: dict[str, Any] | None) -> Kit:
    """Return a kit with a plan and, for paths that need a lab, its facts."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    kit = Kit(folder)
    kit.save("plan.json", asdict(plan))
    if facts is not None:
        kit.save("facts.json", facts)
        shutil.copyfile(facts["ca_file"], kit.ca_file)
        shutil.copyfile(facts["connector_public_key_file"], folder / "public.pem")
    return kit
