"""The validator that explains: JSON Schema, Draft 2020-12. Loaded when first needed, for it takes a while."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator


def draft_2020_12(schema: Mapping[str, Any]) -> "Draft202012Validator":
    """Return the validator of a schema."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema)
