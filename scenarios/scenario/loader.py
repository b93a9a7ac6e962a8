"""Reads scenarios from YAML files; errors have the line. See docs/scenarios.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml

from pfxlab.emulator.lab import verbs
from pfxlab.emulator.lab.moments import read_moment
from pfxlab.emulator.lab.schemas import MOMENT, TEXT
from pfxlab.scenarios import yaml_file
from pfxlab.scenarios.lab.config_file import config_of

CATALOGUE: Final = files(__package__) / "catalogue"
START: Final = "2026-03-02T08:00:00Z"
"""The default start of a scenario: a Monday morning."""


class ScenarioProblem(ValueError):
    """A file that is not a valid scenario; the text says where, what was expected and what was found."""


@dataclass(frozen=True)
class Scenario:
    """A scenario as it was written. `lines`: the line of each step in `text`."""

    name: str
    title: str
    source: str
    start: datetime
    seed: int
    switches: Mapping[str, Any]
    steps: Sequence[Mapping[str, Any]]
    lines: Sequence[int]
    text: str


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a scenario."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A scenario of PFX Lab",
        "type": "object",
        "properties": {
            "title": {**TEXT, "description": "what the scenario shows, in a sentence"},
            "source": {
                **TEXT,
                "description": "what the scenario stands for: a document, a report, or an anchor of docs/sources.md",
            },
            "start": {**MOMENT, "description": f"when it begins on the lab's clock; {START} when left out"},
            "seed": {"type": "integer", "minimum": 0, "description": "seed of ids and random faults; 7 when left out"},
            "switches": {"type": "object", "description": "switches of docs/divergences.md"},
            "steps": {"type": "array", "minItems": 1, "items": verbs.schema()},
        },
        "required": ["title", "steps"],
        "additionalProperties": False,
    }


def read_scenario(path: Path, name: str | None = None) -> Scenario:
    """Return the scenario in a file.

    Raises:
        ScenarioProblem: the file cannot be read, is not YAML, or is not a scenario; with the line.

    """
    try:
        text = yaml_file.text_of(path)
    except yaml_file.InvalidYaml as problem:
        raise ScenarioProblem(str(problem)) from None
    return parse_scenario(text, name or path.stem, str(path))


def parse_scenario(text: str, name: str, place: str) -> Scenario:
    """Return the scenario in a text; errors name `place` as its source.

    Raises:
        ScenarioProblem: it is not YAML or not a scenario; with the line.

    """
    try:
        root, body = yaml_file.checked(text, schema(), place, "a scenario with title and steps")
    except yaml_file.InvalidYaml as problem:
        raise ScenarioProblem(str(problem)) from None
    _check_values(root, body, place)
    lines = [yaml_file.line_of(root, ["steps", number]) for number in range(len(body["steps"]))]
    return Scenario(
        name,
        body["title"],
        body.get("source", ""),
        read_moment(body.get("start", START)),
        body.get("seed", 7),
        body.get("switches", {}),
        body["steps"],
        lines,
        text,
    )


def _check_values(root: yaml.Node, body: Mapping[str, Any], place: str) -> None:
    """Check what a schema cannot: that moments are valid, and that switches and faults exist."""
    where: list[str | int] = ["start"]
    try:
        read_moment(body.get("start", START))
        where = ["switches"]
        config_of(switches=body.get("switches", {}))
        for number, step in enumerate(body["steps"]):
            ((word, given),) = step.items()
            where = ["steps", number, word]
            verbs.check_values(word, given)
    except ValueError as error:
        raise ScenarioProblem(f"{place}, line {yaml_file.line_of(root, where)}: {where[-1]}: {error}") from None


def catalogue() -> dict[str, Scenario]:
    """Return the scenarios shipped with the lab, by name."""
    found = sorted(Path(str(entry)) for entry in CATALOGUE.iterdir() if entry.name.endswith(".yaml"))
    return {path.stem: read_scenario(path) for path in found}
