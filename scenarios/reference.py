"""Writes the pages under docs/ that are generated: commands, routes, delivery states, behaviour of platforms.

python -m scenarios.reference     writes them; a test fails when they are not what this makes
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from emulator.graph.dispatch import build_router
from emulator.intune.delivery import mermaid
from scenarios.cli import main

DOCS: Final = Path(__file__).parent.parent / "docs"


def cli_page() -> str:
    """Return the command reference, made of the commands' own help."""
    parts = ["# Commands\n\nGenerated from the commands themselves: `python -m scenarios.reference`.\n"]
    parts.append("Exit codes: 0 ok, 1 verdict failed, 2 usage, 3 could not run.\n")
    context = click.Context(main, info_name="pfxlab", **main.context_settings)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        if command is not None:
            parts += _sections(command, context, name)
    return "\n".join(parts)


def _sections(command: click.Command, parent: click.Context, name: str) -> list[str]:
    """Return the section of a command and, of a group, those of its commands."""
    inner = click.Context(command, info_name=name, parent=parent, terminal_width=100, max_content_width=100)
    parts = [f"## {inner.command_path}\n\n```text\n{command.get_help(inner)}\n```\n"]
    if isinstance(command, click.Group):
        for sub in command.list_commands(inner):
            found = command.get_command(inner, sub)
            parts += [] if found is None else _sections(found, inner, sub)
    return parts


def states_page() -> str:
    """Return the page of the delivery states, drawn from their table."""
    return (
        "# The life of a delivery\n\n"
        "One imported certificate, under one profile, to one device. Generated from the table in\n"
        "`emulator/intune/delivery.py`: `python -m scenarios.reference`.\n\n"
        f"```mermaid\n{mermaid()}```\n"
    )


def routes_page() -> str:
    """Return the table of Graph's routes, made of the router's own."""
    lines = [
        "# Graph routes",
        "",
        "Generated from the router: `python -m scenarios.reference`. One of the permissions is enough; delegated calls",
        "on Intune resources need the Intune Administrator role as well. `$batch` takes any of them.",
        "",
        "| method | path | versions | permissions |",
        "|---|---|---|---|",
    ]
    for method, template, route in build_router().table:
        permissions = ", ".join(f"`{scope}`" for scope in route.permissions.scopes)
        lines.append(f"| {method} | `/{template}` | {', '.join(route.versions)} | {permissions} |")
    return "\n".join(lines) + "\n"


def _behaviours() -> Iterator[tuple[list[str], str]]:
    """Yield (topic, platform, what, confidence, source) of each mark in the tests, and the test that proves it."""
    for path in sorted((DOCS.parent / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "behaviour":
                    place = path.relative_to(DOCS.parent).as_posix()
                    yield [str(ast.literal_eval(value)) for value in mark.args], f"[{node.name}](../{place})"


def platforms_page() -> str:
    """Return the table of what the simulated platforms do, made of the marks on the tests that prove it."""
    lines = [
        "# What the simulated devices do",
        "",
        "Generated from the tests, which prove each row: `python -m scenarios.reference`. **documented** by Microsoft",
        "or Apple, **observed** on real devices by others, **assumed** by us. What is unknown and can be set otherwise",
        "stands in [divergences](divergences.md). The source names the section of the reference on devices.",
        "",
        "| topic | platform | what it does | confidence | source | proved by |",
        "|---|---|---|---|---|---|",
    ]
    rows = sorted(_behaviours(), key=lambda row: row[0][:2])
    lines += [f"| {m[0]} | {m[1]} | {m[2]} | {m[3]} | {m[4]} | {proof} |" for m, proof in rows]
    return "\n".join(lines) + "\n"


PAGES: Final = {
    "cli.md": cli_page,
    "routes.md": routes_page,
    "delivery-states.md": states_page,
    "platforms.md": platforms_page,
}


def write() -> None:
    """Write every generated page."""
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), "utf-8")


if __name__ == "__main__":
    write()
