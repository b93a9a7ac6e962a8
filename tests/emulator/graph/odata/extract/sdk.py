"""Reads types from the models of Microsoft's generated Python SDK, where no CSDL at hand has them.

The models say nothing of nullability and numbers; a navigation property looks like any other.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.emulator.graph.odata.extract.facts import Facts, Property, Structure

_CLASS = re.compile(r"^class (\w+)\((\w+)?", re.MULTILINE)
_FIELD = re.compile(r'"(\w+)": lambda n : setattr\(self, \'\w+\', n\.(\w+)\((\w*)\)\)')
_TEMPLATE = re.compile(r'super\(\).__init__\(request_adapter, "\{\+baseurl\}/([^"]+)"')
_QUERY = re.compile(r"\{[?&][^}]*\}$")
_PLAIN = {
    "get_str_value": "String", "get_bool_value": "Boolean", "get_int_value": "Int32", "get_float_value": "Double",
    "get_datetime_value": "DateTimeOffset", "get_date_value": "Date", "get_time_value": "TimeOfDay",
    "get_timedelta_value": "Duration", "get_uuid_value": "Guid", "get_bytes_value": "Binary",
}  # fmt: skip


def read_models(folder: Path, names: set[str]) -> Facts:
    """Return the structures among `names`, by short type name, that the models in a folder have."""
    known = {name.replace("_", "").lower(): name for name in names}
    # A model names another without its namespace.
    known = {name.rpartition(".")[2]: full for name, full in known.items()} | known
    facts = Facts()
    for path in folder.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found = _CLASS.search(text)
        if found is None:
            continue
        name = _name(path.relative_to(folder).parts[:-1], found[1], known)
        if name is None:
            continue
        base = known.get((found[2] or "").lower())
        structure = Structure(entity=True, base=base)
        for field, getter, argument in _FIELD.findall(text):
            structure.properties[field] = Property(_type(getter, argument, known))
        facts.structures[name] = structure
    return facts


def _name(folders: tuple[str, ...], model: str, known: dict[str, str]) -> str | None:
    """Return a model's type: a folder is a namespace, but for the type that bears its folder's name."""
    spaces = [part.replace("_", "").lower() for part in folders]
    if spaces[-1:] == [model.lower()]:
        spaces = spaces[:-1]
    return known.get(".".join([*spaces, model.lower()]))


def read_paths(folder: Path) -> Iterator[list[str]]:
    """Return the paths that the request builders know, as segments; a key is {}, a function ends in ()."""
    for path in folder.rglob("*_request_builder.py"):
        for text in _TEMPLATE.findall(path.read_text(encoding="utf-8")):
            bare = _QUERY.sub("", text).replace("%24", "$").replace("%2E", ".")
            # Keys and parameters may hold slashes in their quotes: no template of the SDK has such.
            yield [_segment(part) for part in bare.split("/") if part]


def _segment(text: str) -> str:
    name, opened, _ = text.partition("(")
    if opened:
        return f"{name}()"
    return "{}" if "{" in text else text


def _type(getter: str, argument: str, known: dict[str, str]) -> str:
    many = "[]" if "collection" in getter else ""
    if getter in _PLAIN:
        return _PLAIN[getter]
    plain = {"str": "String", "int": "Int32", "bool": "Boolean", "UUID": "Guid", "float": "Double"}
    lowered = argument[:1].lower() + argument[1:]
    return plain.get(argument, known.get(argument.lower(), lowered)) + many
