"""Request bodies: JSON, checked by JSON Schema, refused the way gateway and model of the real service refuse.

The order of checks: readable JSON, unknown properties, wrong types, wrong literals, missing properties. Sources:
sources.md#json-content-type, sources.md#model-validation, sources.md#opaque-400.
"""

import json
from collections.abc import Callable
from functools import cache, partial
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, cast

import jsonschema_rs

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.enumerations import canonical, service_type
from pfxlab.emulator.graph.odata.model import ENUM_TYPES
from pfxlab.emulator.graph.request import GraphRequest
from pfxlab.emulator.wire import jsontext
from pfxlab.emulator.wire.edm import parse_binary, parse_date_time
from pfxlab.emulator.wire.schemas import validator

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

MOST_VALUES: Final = 5_000
"""Values in a body; a batch of twenty records has 300."""

_EDM_TYPES = {"edm-date-time-offset": "Edm.DateTimeOffset", "edm-binary": "Edm.Binary"}
_PARSERS: dict[str, Callable[[str], object]] = {
    "edm-date-time-offset": parse_date_time,
    "edm-binary": parse_binary,
    **{name: partial(canonical, name) for name in ENUM_TYPES},
}
"""Format in a schema → what reads a text of it: an enumeration's format is its name in the model."""


def _strict(parse: Callable[[str], object]) -> Callable[[object], bool]:
    """Return a format that raises what is wrong, for the checker that explains."""

    def conforms(value: object) -> bool:
        if isinstance(value, str):
            parse(value)
        return True

    return conforms


def _lenient(parse: Callable[[str], object]) -> Callable[[str], bool]:
    """Return a format that says yes or no, for the checker that is fast."""

    def conforms(value: str) -> bool:
        try:
            parse(value)
        except ValueError:
            return False
        return True

    return conforms


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("a number is too large")
    return number


def read_json(request: GraphRequest) -> dict[str, Any]:
    """Return the JSON object of a body.

    Raises:
        GraphError: no body, another content type, not JSON, or not an object.

    """
    if not request.body:
        raise errors.empty_payload()
    media = request.content_type.partition(";")[0].strip().lower()
    if media != "application/json":
        raise errors.unreadable_payload(f"expected Content-Type application/json, got {media or 'none'}")
    try:
        body = jsontext.decode(request.body, MOST_VALUES)
    except ValueError:
        body = _explained(request.body)
    if not isinstance(body, dict):
        raise errors.unreadable_payload(f"expected a JSON object, got {type(body).__name__}")
    return body


def _explained(data: bytes) -> Any:
    """Read a body that the fast reader refuses: a byte order mark is let pass, the rest is told what it is.

    Raises:
        GraphError: what is wrong with it.

    """
    try:
        jsontext.check_size(data, MOST_VALUES)
    except ValueError as error:
        raise errors.unreadable_payload(str(error)) from None
    try:
        body = json.loads(data, parse_constant=_no_number, parse_float=_finite)
        jsontext.check_values(body)
        # A lone surrogate passes the JSON parser and nothing after it.
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        text = f"Unable to translate bytes at index {error.start} from specified code page to Unicode."
        raise errors.model_validation(text, "expected UTF-8, got other bytes") from None
    except UnicodeEncodeError:
        raise errors.unreadable_payload("expected Unicode text, got a lone surrogate") from None
    except json.JSONDecodeError as error:
        raise errors.unreadable_payload(f"expected JSON, the body breaks off at character {error.pos}") from None
    except (ValueError, RecursionError) as error:
        raise errors.unreadable_payload(f"expected JSON of usual depth and numbers ({type(error).__name__})") from None
    return body


def check(schema: str, type_name: str, body: dict[str, Any], service: str | None, *, partial: bool = False) -> None:
    """Check a body against a schema; `partial` lets properties be missing, as PATCH does. No service: the directory.

    Raises:
        GraphError: the refusal the real service has for the first problem.

    """
    if _fast(schema).is_valid(body):
        return
    # Only a body that will be refused pays for the checker that can say why.
    compiled = _checker(schema)
    problems = list(compiled.iter_errors(body))
    unknown = [p for p in problems if p.validator in ("additionalProperties", "unevaluatedProperties")]
    if unknown:
        name = _unknown_name(unknown[0], compiled)
        raise errors.directory_unknown(name) if service is None else errors.unknown_property(name, type_name)
    for problem in problems:
        if problem.validator != "required":
            raise _value_error(problem)
    missing = [p for p in problems if p.validator == "required"]
    if missing and not partial:
        names = ", ".join(sorted(p.message.split("'")[1] for p in missing))
        if service is None:
            raise errors.directory_missing(names.partition(",")[0], type_name)
        raise errors.intune_bad_request(service, f"expected {names} in the body, got none", "PropertyMissing")


@cache
def _fast(schema: str) -> jsonschema_rs.Draft202012Validator:
    formats = {name: _lenient(parse) for name, parse in _PARSERS.items()}
    return jsonschema_rs.Draft202012Validator(
        dict(cast(Any, validator(schema).schema)), formats=formats, validate_formats=True
    )


@cache
def _checker(schema: str) -> "Validator":
    from jsonschema import FormatChecker

    formats = FormatChecker(formats=())
    for name, parse in _PARSERS.items():
        formats.checks(name, raises=ValueError)(_strict(parse))
    return validator(schema).evolve(format_checker=formats)


def _unknown_name(problem: "ValidationError", compiled: "Validator") -> str:
    schema: Any = compiled.schema
    known, instance = schema["properties"], cast(dict[str, Any], problem.instance)
    return next(name for name in instance if name not in known and not _annotation(name))


def _annotation(name: str) -> bool:
    return "@" in name


_SECRETS = frozenset({"encryptedPfxBlob", "encryptedPfxPassword", "password", "secretText", "key"})


def _value_error(problem: "ValidationError") -> errors.GraphError:
    name = "/".join(str(part) for part in problem.absolute_path)
    hidden = bool(_SECRETS & {str(part) for part in problem.absolute_path})
    if problem.validator == "format":
        reason = f"{name}: {problem.cause}" if problem.cause else name
        # A secret-bearing literal must not come back in an answer or reach the journal.
        literal = "" if hidden else str(problem.instance)[:100]
        kind = str(problem.validator_value)
        return errors.bad_literal(literal, _EDM_TYPES.get(kind) or service_type(kind), reason[:300])
    if problem.validator in ("minimum", "maximum"):
        limit = f"{problem.validator} {problem.validator_value}"
        return errors.out_of_range(f"{name}: expected {limit}, got {json.dumps(problem.instance)[:40]}")
    reason = f"{name}: expected {problem.validator} {problem.validator_value}, got {type(problem.instance).__name__}"
    if problem.validator == "type" and isinstance(problem.instance, int | float | bool):
        literal = "" if hidden else json.dumps(problem.instance)
        return errors.bad_literal(literal, "Edm.String", reason)
    return errors.schema_mismatch(name, reason)
