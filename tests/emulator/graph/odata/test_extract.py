"""The extraction of names and numbers from published documents, on small documents of the same form."""

from pathlib import Path

import pytest

from tests.emulator.graph.odata.extract import served
from tests.emulator.graph.odata.extract.csdl import read_csdl
from tests.emulator.graph.odata.extract.facts import Facts
from tests.emulator.graph.odata.extract.merge import merged
from tests.emulator.graph.odata.extract.routes import Routes, routes_document
from tests.emulator.graph.odata.extract.write import served_types

_DOCUMENT = """<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>
<Schema Namespace="microsoft.graph" Alias="graph" xmlns="http://docs.oasis-open.org/odata/ns/edm">
<EnumType Name="colour" IsFlags="true"><Member Name="red" Value="1" /><Member Name="blue" Value="%(blue)s" /></EnumType>
<ComplexType Name="part"><Property Name="size" Type="Edm.Int32" Nullable="false" /></ComplexType>
<EntityType Name="entity" Abstract="true"><Key><PropertyRef Name="id" /></Key>
<Property Name="id" Type="Edm.String" Nullable="false" /></EntityType>
<EntityType Name="thing" BaseType="graph.entity"><Property Name="parts" Type="Collection(graph.part)" />
%(more)s<Property Name="paint" Type="graph.colour" Nullable="false" />
<NavigationProperty Name="next" Type="graph.thing" ContainsTarget="true" /></EntityType>
<Action Name="shake" IsBound="true"><Parameter Name="bindingParameter" Type="graph.thing" />
<Parameter Name="times" Type="Edm.Int32" Nullable="false" /><ReturnType Type="Collection(graph.part)" /></Action>
<Function Name="count" IsBound="true"><Parameter Name="bindingParameter" Type="Collection(graph.thing)" />
<ReturnType Type="Edm.Int64" /></Function>
<EntityContainer Name="GraphService"><EntitySet Name="things" EntityType="microsoft.graph.thing" /></EntityContainer>
</Schema></edmx:DataServices></edmx:Edmx>
"""


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Facts]:
    """Return the facts of two small documents: beta has a property and a number of its own."""
    monkeypatch.setattr(served, "SERVED", ["entity", "thing"])
    monkeypatch.setattr("tests.emulator.graph.odata.extract.routes.SERVED", ["entity", "thing"])
    more = '<Property Name="weight" Type="Edm.Double" />'
    for name, values in (("beta", {"blue": "4", "more": more}), ("v1.0", {"blue": "2", "more": ""})):
        (tmp_path / name).write_text(_DOCUMENT % values)
    return {name: read_csdl(tmp_path / name) for name in ("beta", "v1.0")}


def test_facts_of_both_versions_stand_once(versions: dict[str, Facts]) -> None:
    """What both versions have stands once; what differs or is of one version names the version."""
    found = served_types(versions)
    assert found["types"]["thing"] == {
        "is": "entity entity",
        "properties": {"parts": "part[]", "weight": "beta Double", "paint": "colour!"},
        "navigations": {"next": "thing+"},
    }
    assert found["types"]["entity"]["is"] == "entity - abstract"
    assert found["types"]["part"] == {"is": "complex -", "properties": {"size": "Int32!"}, "navigations": {}}
    assert found["enumerations"]["colour"] == {"is": "flags", "red": "1", "blue": "beta 4|v1.0 2"}
    assert set(found["operations"]) == {"action thing.shake(times Int32!): part[]", "function thing[].count(): Int64"}
    assert found["sets"] == {"things": "thing"}


def test_routes_are_words(versions: dict[str, Facts]) -> None:
    """A type's routes name its base, its navigations, its operations and those of its collection."""
    paths = [["things", "{}", "paint"], ["things", "{}", "spin"], ["things", "{}", "next", "spin()"], ["others", "{}"]]
    found = routes_document({"beta": Routes.of(versions["beta"], paths), "v1.0": Routes.of(versions["v1.0"])})
    assert found["types"]["thing"] == "<entity next=thing shake beta:spin() beta:spin []count()"
    assert found["roots"] == {"things": "thing[]", "others": "beta ?[]"}


def test_names_decide_and_documents_tell(versions: dict[str, Facts]) -> None:
    """A list of names says what a version has, the first document that knows a name what it is; the rest is missing."""
    entities = {"microsoft.graph": {"thing": {"properties": ["paint", "taste"], "navigationProperties": ["next"]}}}
    enumerations = {"microsoft.graph": {"colour": ["blue", "green"]}}
    facts, missing = merged(entities, {}, enumerations, [versions["v1.0"], versions["beta"]])
    assert missing == ["thing.taste", "colour.green"]
    assert facts.enumerations["colour"].members == {"blue": 2}
    assert list(facts.structures["thing"].properties) == ["paint", "taste"]
    assert facts.structures["thing"].properties["paint"].nullable is False
