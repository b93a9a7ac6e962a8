"""SQL is written in `emulator/store` alone: no other module has a statement, or runs one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
STORE = ROOT / "emulator" / "store"
BARE = ROOT / "scenarios" / "load" / "bench" / "bare.py"
"""What imports are measured against: a handler that does nothing but store, with no part of the product in it."""

PACKAGES = ("emulator", "connector_sim", "device_sim", "scenarios", "pfxlab")
MODULES = [
    path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if STORE not in path.parents and path != BARE
]
STATEMENT = re.compile(
    r"\bselect\b.+\bfrom\b|\binsert\s+(or\s+\w+\s+)?into\b|\bupdate\s+\S+\s+set\b|\bdelete\s+from\b|\bwith\s+recursive\b"
    r"|\b(create|drop|alter)\s+(unique\s+)?(table|index|view|trigger)\b|^\s*pragma\s|\bjson_(extract|each)\(|[=<>]\s\?",
    re.IGNORECASE | re.DOTALL,
)
"""Statements, and the pieces of conditions that only SQL has: its functions on JSON, a value to be filled in."""

RUNS_SQL = {"execute", "executemany", "executescript", "query", "rows", "row", "scalar", "run", "run_many", "put",
            "put_over", "update"}  # fmt: skip
DATABASES = {"store", "_store", "db", "_db", "conn", "connection", "cursor"}


def text_of(node: ast.AST) -> str:
    """Return the text of a string, an f-string, or a sum of both; an interpolated value counts as one word."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(text_of(part) or "x" for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return text_of(left) + text_of(right)
    return ""


def name_of(node: ast.AST) -> str:
    """Return the last part of a dotted name."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def sql_in(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each statement in a module's strings, and of each call that runs one."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) not in prose and STATEMENT.search(text_of(node)):
            yield node.lineno, text_of(node)  # type: ignore[attr-defined]
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr in RUNS_SQL and name_of(called.value) in DATABASES:
            yield called.lineno, f"{name_of(called.value)}.{called.attr}"
        opened = isinstance(called, ast.Attribute) and (name_of(called.value), called.attr) == ("sqlite3", "connect")
        if opened or (isinstance(node, ast.ImportFrom) and node.module == "sqlite_utils"):
            yield node.lineno, "a database is opened"  # type: ignore[attr-defined]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_outside_the_store_has_sql(package: str) -> None:
    """No string outside the store is SQL, and nothing there is called that runs SQL; the bare baseline is exempt."""
    modules = [path for path in MODULES if path.relative_to(ROOT).parts[0] == package]
    assert modules
    found = [f"{path.relative_to(ROOT)}:{line}: {text}" for path in modules for line, text in sql_in(path.read_text())]
    assert found == []


PLANTED = {
    "select": 'ROWS = "select id from users where id = 1"',
    "pieces": 'TABLE = "users"\nSQL = f"select {COLUMNS} "\\\n    f"from {TABLE}"',
    "sum": 'SQL = "select * " + f"from {TABLE}"',
    "lines": 'SQL = """\n    SELECT *\n    FROM users"""',
    "insert": 'SQL = "INSERT OR IGNORE INTO users VALUES (1)"',
    "update": 'SQL = f"update {table} set name = 1"',
    "delete": 'SQL = "delete from users"',
    "create": 'SQL = "create unique index a on b (c)"',
    "pragma": 'SQL = "PRAGMA journal_mode = wal"',
    "condition": 'WHERE = "tenant_id = ?"',
    "column": "COLUMN = \"json_extract(properties, '$.surname')\"",
    "argument": 'def f(cloud): return cloud.store.rows("select 1 from a")',
    "call": "def f(cloud, sql): return cloud.store.rows(sql)",
    "table": 'def f(self): self._store.put("users", {})',
    "cursor": "def f(cursor, sql): cursor.execute(sql)",
    "file": "import sqlite3\nLINE = sqlite3.connect(':memory:')",
    "library": "from sqlite_utils import Database",
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_sql_is_found(name: str) -> None:
    """Each way of writing or running SQL outside the store is found."""
    assert list(sql_in(PLANTED[name])) != []


def test_the_baseline_needs_its_exemption() -> None:
    """The one exempt module does contain SQL."""
    assert list(sql_in(BARE.read_text())) != []


def test_prose_and_other_calls_are_not_sql() -> None:
    """Docstrings may speak of SQL, and methods of other things may have the names of those that run it."""
    source = '"""Select what comes from the table."""\n\ndef f(device, reply):\n    device.execute(reply.run(1))\n'
    assert list(sql_in(source)) == []
