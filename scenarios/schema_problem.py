"""What is wrong with a file that a JSON Schema refuses: a sentence, with the name that was probably meant."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pfxlab.emulator.wire.json_schema import choice_of, draft_2020_12, narrowed, place_of, problem_of
from pfxlab.scenarios.nearest import near

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError


def first_problem(schema: Mapping[str, Any], value: Any) -> str | None:
    """Return what is wrong with a value: the place, what was expected, what came; None for a valid one."""
    # An unknown key before a missing one: it is often what the other should be.
    errors = sorted(draft_2020_12(schema).iter_errors(value), key=lambda one: one.validator != "additionalProperties")
    return sentence(narrowed(errors[0])) if errors else None


def sentence(error: "ValidationError") -> str:
    """Return where an error is, what was expected, and what came."""
    choice = choice_of(error)
    return f"{place_of(error) or 'the file'}: {problem_of(error)}{'' if choice is None else near(*choice)}"
