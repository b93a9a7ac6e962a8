"""Reads stories from YAML files and says with a line number what is wrong with one. See docs/stories.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from emulator.lab.moments import read_moment
from scenarios.config_file import config_of
from scenarios.stories import steps
from scenarios.stories.schemas import MOMENT, TEXT

CATALOGUE: Final = files(__package__) / "catalogue"
START: Final = "2026-03-02T08:00:00Z"
"""When a story begins that does not say so: a Monday morning."""


class StoryProblem(ValueError):
    """A file that is no story; the text says where, what was expected, and what came."""


@dataclass(frozen=True)
class Story:
    """A story as it was written. `lines`: the line of each step in `text`."""

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
    """Return the JSON Schema of a story."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A story of PFX Lab",
        "type": "object",
        "properties": {
            "title": {**TEXT, "description": "what the story shows, in a sentence"},
            "source": {**TEXT, "description": "the document or report the story stands for"},
            "start": {**MOMENT, "description": f"when it begins on the lab's clock; {START} when left out"},
            "seed": {"type": "integer", "minimum": 0, "description": "ids and chances derive from it; 7 when left out"},
            "switches": {"type": "object", "description": "switches of docs/divergences.md"},
            "steps": {"type": "array", "minItems": 1, "items": steps.schema()},
        },
        "required": ["title", "steps"],
        "additionalProperties": False,
    }


def _line(node: yaml.Node, path: Sequence[str | int]) -> int:
    """Return the line of what a path leads to, or of the last thing on the way that is there."""
    line = node.start_mark.line + 1
    for part in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if pair is None:
                return line
            line, node = pair[0].start_mark.line + 1, pair[1]
        else:
            return line
    return line


def _narrowed(error: ValidationError) -> ValidationError:
    """Return the most telling part of an error that has alternatives."""
    inner = best_match([error])
    return inner if isinstance(inner, ValidationError) else error


def _sentence(error: ValidationError) -> str:
    schema_, wanted = error.schema, error.validator_value
    if error.validator == "additionalProperties" and isinstance(error.instance, dict) and isinstance(schema_, dict):
        known = sorted(schema_.get("properties", {}))
        unknown = sorted(set(map(str, error.instance)) - set(known))
        return f"expected one of {', '.join(known)}, got {', '.join(unknown)[:100]}"
    if error.validator == "enum" and isinstance(wanted, list):
        return f"expected one of {', '.join(map(str, wanted))}, got {error.instance!r}"[:600]
    if error.validator == "required" and isinstance(error.instance, dict) and isinstance(wanted, list):
        missing = [name for name in wanted if name not in error.instance]
        return f"expected {', '.join(missing)}, got none"
    return error.message[:300]


def read_story(path: Path, name: str | None = None) -> Story:
    """Return the story in a file.

    Raises:
        StoryProblem: the file cannot be read, is not YAML, or is no story; with the line.

    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoryProblem(f"{path}: expected a story as YAML text, got a file that cannot be read ({error})") from None
    return parse_story(text, name or path.stem, str(path))


def parse_story(text: str, name: str, place: str) -> Story:
    """Return the story of a text; `place` stands in what is said about it.

    Raises:
        StoryProblem: it is not YAML, or no story; with the line.

    """
    try:
        root, body = yaml.compose(text, Loader=yaml.SafeLoader), read_yaml(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise StoryProblem(f"{place}, line {line}: expected YAML, got {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise StoryProblem(f"{place}: expected YAML, got something else ({error})") from None
    if root is None:
        raise StoryProblem(f"{place}, line 1: expected a story with title and steps, got an empty file")
    errors = sorted(Draft202012Validator(schema()).iter_errors(body), key=lambda e: _line(root, list(e.absolute_path)))
    if errors:
        told = _narrowed(errors[0])
        where = list(told.absolute_path)
        shown = "/".join(str(part + 1) if isinstance(part, int) else part for part in where) or "the story"
        raise StoryProblem(f"{place}, line {_line(root, where)}: {shown}: {_sentence(told)}")
    _check_values(root, body, place)
    lines = [_line(root, ["steps", number]) for number in range(len(body["steps"]))]
    return Story(
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
    """Check what a schema cannot: moments that are, switches and faults that exist."""
    where: list[str | int] = ["start"]
    try:
        read_moment(body.get("start", START))
        where = ["switches"]
        config_of(switches=body.get("switches", {}))
        for number, step in enumerate(body["steps"]):
            ((word, given),) = step.items()
            where = ["steps", number, word]
            steps.check_values(word, given)
    except ValueError as error:
        raise StoryProblem(f"{place}, line {_line(root, where)}: {where[-1]}: {error}") from None


class _Texts(yaml.SafeLoader):
    """Leaves moments the texts that they are: YAML would make dates of some and lose their zone."""


_Texts.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(text: str) -> Any:
    """Return the values of a YAML text, with moments as the texts that they are.

    Raises:
        yaml.YAMLError: it is not YAML.

    """
    return yaml.load(text, Loader=_Texts)  # noqa: S506 - a SafeLoader


def catalogue() -> dict[str, Story]:
    """Return the stories that come with the lab, by name."""
    found = sorted(Path(str(entry)) for entry in CATALOGUE.iterdir() if entry.name.endswith(".yaml"))
    return {path.stem: read_story(path) for path in found}
