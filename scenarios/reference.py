"""Writes the pages under docs/ that are generated: commands, routes, states, platforms, faults, scenarios, load runs, …

python -m pfxlab.scenarios.reference     writes them; a test fails when they are not what this makes
"""

import ast
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

from pfxlab.emulator.faults.kinds import KINDS, MATCHES
from pfxlab.emulator.graph.dispatch import build_router
from pfxlab.emulator.lab import expectations, verbs
from pfxlab.emulator.lab.control import PREFIX
from pfxlab.emulator.lab.openapi import document
from pfxlab.emulator.store.delivery_states import mermaid
from pfxlab.scenarios.cli import main
from pfxlab.scenarios.conformance.plans import PLANS
from pfxlab.scenarios.conformance.rules import RULES
from pfxlab.scenarios.conformance.tool import ARGUMENTS
from pfxlab.scenarios.load import plan_file as load_plans
from pfxlab.scenarios.load.plan_file import PATHS
from pfxlab.scenarios.load.shapes import KINDS as SHAPES
from pfxlab.scenarios.scenario.loader import catalogue
from pfxlab.scenarios.scenario.loader import schema as scenario_schema
from pfxlab.scenarios.sources.facts import fact, links, sources_page

DOCS: Final = Path(__file__).parent.parent / "docs"


def cli_page() -> str:
    """Return the command reference, made of the commands' own help."""
    parts = ["# Commands\n\nGenerated from the commands themselves: `make docs`.\n"]
    parts.append(
        "Exit codes: 0 ok, 1 verdict failed, 2 usage, 3 could not run, 130 ended by Ctrl-C, 143 ended by SIGTERM.\n"
        "A bug in the lab is one line and exit code 3; with `PFXLAB_TRACEBACK=1` it shows its traceback.\n"
        "Services (`up`, `connector run`) end with 0 on either once they serve; `exec` ends with its command's code.\n"
    )
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
        "`emulator/store/delivery_states.py`: `make docs`.\n\n"
        f"```mermaid\n{mermaid()}```\n"
    )


def routes_page() -> str:
    """Return the table of Graph's routes, made of the router's own."""
    lines = [
        "# Graph routes",
        "",
        "Generated from the router: `make docs`. One of the permissions is enough; delegated calls",
        "on Intune resources need the Intune Administrator role as well. `$batch` takes any of them. `{type}` is the",
        "name of a type with its namespace, such as `microsoft.graph.user` or `graph.user`: objects of that type only.",
        "",
        "Where Microsoft Graph has a route and this table has not, a list of Intune is empty",
        "([unmodelled_lists](divergences.md)) and anything else is 501, with the header `x-pfxlab-reason`.",
        "",
        "| method | path | versions | permissions |",
        "|---|---|---|---|",
    ]
    for method, template, route in build_router().table:
        permissions = ", ".join(f"`{scope}`" for scope in route.permissions.scopes)
        if route.permissions.application is not None:
            permissions += "; an application: " + ", ".join(f"`{scope}`" for scope in route.permissions.application)
        lines.append(f"| {method} | `/{template}` | {', '.join(route.versions)} | {permissions} |")
    return "\n".join(lines) + "\n"


def _behaviours() -> Iterator[tuple[list[str], str]]:
    """Yield (topic, platform, what, source) of each mark in the tests, and the test that proves it."""
    for path in sorted((DOCS.parent / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "behaviour":
                    place = path.relative_to(DOCS.parent).as_posix()
                    values = [*mark.args, *(word.value for word in mark.keywords)]
                    yield [str(ast.literal_eval(value)) for value in values], f"[{node.name}](../{place})"


def platforms_page() -> str:
    """Return the table of what the simulated platforms do, generated from the marks on the tests that prove it."""
    lines = [
        "# What the simulated devices do",
        "",
        "Generated from the tests, which prove each row: `make docs`. **documented** by the platform's maker,",
        "**observed** on real devices by others, **assumed** by us: see [sources](sources.md). What is unknown and can",
        "be switched is listed in [divergences](divergences.md).",
        "",
        "| topic | platform | what it does | confidence | source | proved by |",
        "|---|---|---|---|---|---|",
    ]
    rows = sorted(_behaviours(), key=lambda row: row[0][:2])
    lines += [f"| {m[0]} | {m[1]} | {m[2]} | {fact(m[3]).confidence} | {links(m[3])} | {proof} |" for m, proof in rows]
    return "\n".join(lines) + "\n"


def faults_page() -> str:
    """Return the page of the faults, made of their table."""
    lines = [
        "# Faults",
        "",
        "Generated from the table in `emulator/faults/kinds.py`: `make docs`.",
        "",
        "Faults can be planned over the control API (`POST /lab/v1/faults`), in a scenario (`- fault: {…}`), in a",
        "test (`with pfxlab.fault(…)`) or by hand (`pfxlab world fault`). The journal records each fault that strikes",
        "as `fault injected`. At each stage (for HTTP: delay, replaced answer, changed answer; for a device: network,",
        "lock, storage, version) only the first fault that is due strikes, in the order of planning.",
        "",
        "| kind | party | what the party does | settings | `pfxlab explain` reports |",
        "|---|---|---|---|---|",
    ]
    for name, kind in KINDS.items():
        settings = [f"`{n}`: {s.meaning} ({_schema_text(s.schema)}; {s.default})" for n, s in kind.settings.items()]
        lines.append(
            f"| `{name}` | {kind.party} | {kind.does} | {'<br>'.join(settings)} | {' or '.join(kind.causes)} |"
        )
    lines += ["", "When it strikes, and how often:", "", "| setting | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in MATCHES.items()]
    lines += [
        "| `after` | how many matching occasions pass first (default 0); `after: 2` strikes the third |",
        "| `times` | how often it strikes: a number (default 1), or `always`; `2` fails twice, then succeeds |",
        "| `probability` | of each matching occasion, above 0 up to 1; decided by seed, fault and occasion number |",
    ]
    return "\n".join(lines) + "\n"


def _schema_text(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " \\| ".join(map(str, schema["enum"]))
    if "minimum" in schema:
        return f"{schema['minimum']} to {schema['maximum']}"
    return str(schema["type"])


def scenarios_page() -> str:
    """Return the page about scenarios: keys, verbs, conditions, catalogue."""
    lines = [
        "# Scenarios",
        "",
        "Generated from the verbs in `emulator/lab/verbs.py`: `make docs`. The JSON Schema for",
        "editors is [scenario.schema.json](scenario.schema.json), or `pfxlab scenario schema`.",
        "",
        "A scenario is a YAML file: what happens in a new lab, step by step, and what must be true. The clock is",
        "frozen until a step lets time pass; connectors and devices do what is due, in order. The same seed gives the",
        "same journal. `pfxlab scenario check FILE` shows errors in a file, `pfxlab scenario run FILE` runs it.",
        "",
        "```yaml",
        catalogue()["wrong-purpose"].text.rstrip(),
        "```",
        "",
        "| key | meaning |",
        "|---|---|",
    ]
    properties = scenario_schema()["properties"]
    lines += [f"| `{name}` | {properties[name].get('description', 'what happens, in order')} |" for name in properties]
    lines += ["", "## Steps", "", "| step | what it does | arguments |", "|---|---|---|"]
    lines += [
        f"| `{name}` | {verb.does} | {_SEE.get(name) or _arguments(verb.arguments or {})} |"
        for name, verb in verbs.steps().items()
    ]
    lines += ["", "Durations: `1d12h`, `30m`, `P30D`. Moments: `2026-03-01T08:00:00Z`, from 2000 to 2099.", ""]
    lines += [
        "## Expectations",
        "",
        "`expect` takes any of:",
        "",
        "| expectation | needs | meaning |",
        "|---|---|---|",
    ]
    for name, one in expectations.CONDITIONS.items():
        lines.append(f"| `{name}` | {', '.join(f'`{need}`' for need in one.needs)} | {one.means} |")
    lines += ["", "## The catalogue", "", "| scenario | what it shows | source |", "|---|---|---|"]
    lines += [
        f"| [{s.name}](../scenarios/scenario/catalogue/{s.name}.yaml) | {s.title} | {links(s.source)} |"
        for s in catalogue().values()
    ]
    return "\n".join(lines) + "\n"


_SEE: Final = {"fault": "see [faults](faults.md)", "expect": "see below"}


def _arguments(schema: Mapping[str, Any]) -> str:
    if "properties" in schema:
        needed = schema.get("required", ())
        return ", ".join(f"`{name}`" if name in needed else f"*`{name}`*" for name in schema["properties"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(filter(None, (_arguments(one) for one in schema["anyOf"]))))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "oneOf" in schema or schema.get("type") == "array":
        return "a name or a list of them"
    kinds = schema.get("type")
    return {"string": "text", "object": "names with values"}.get(str(kinds), "nothing")


def control_page() -> str:
    """Return the table of the control API's verbs."""
    lines = [
        "# The control API",
        "",
        "Generated from the verbs in `emulator/lab/verbs.py`: `make docs`. The OpenAPI description is",
        "[openapi.json](openapi.json), which a lab serves as `/lab/v1/openapi.json` too. Address and token are the",
        "ready file's `control_url` and `control_token` (`PFXLAB_CONTROL_URL` and `PFXLAB_CONTROL_TOKEN` in",
        "`pfxlab exec`); send the token as `Authorization: Bearer`. `pfxlab world` calls it from a shell; the",
        "fixtures of [pytest](pytest.md) do the same in process.",
        "",
        "| method | path | what it does | query |",
        "|---|---|---|---|",
    ]
    for verb, endpoint in verbs.endpoints():
        query = ", ".join(f"`{name}`" for name in endpoint.query)
        lines.append(f"| {endpoint.method} | `{PREFIX}{endpoint.path}` | {verb.does} | {query} |")
    return "\n".join(lines) + "\n"


def conformance_page() -> str:
    """Return the page of conformance: plans, arguments, and every rule."""
    lines = [
        "# Conformance",
        "",
        "Generated from the rules and plans in `scenarios/conformance/`: `make docs`.",
        "",
        "A tool is run once for each module of a plan, each time against a fresh lab. In some modules the lab injects",
        "faults. The rules below judge the tool's requests, the records it leaves and its exit code. A broken",
        "**must** rule fails the tool; a broken **should** or **may** rule is a warning.",
        "",
        "```sh",
        "pfxlab conformance run --plan import --html report.html -- my-tool {pfx} {password} {upn}",
        "```",
        "",
        "The tool finds the lab through its arguments, through the environment of `pfxlab exec`, or with Microsoft's",
        "built-in host names. It signs in as an application that has only the rights named by `--rights`.",
        "`--expected-failures FILE` (YAML, rule id: reason) tolerates known failures, and fails the run if one",
        "passes unexpectedly, unless `--module` leaves modules out.",
        "If the lab itself fails in a module or in a rule, that one is *not judged* and the others are: each report",
        "names it with the reason, there is no PASS, and the exit code is 3.",
        "[What an import script with Microsoft's SDK gets](conformance-example.md) shows a verdict.",
        "",
        "## Arguments",
        "",
        "| placeholder | replaced by |",
        "|---|---|",
    ]
    lines += [f"| `{{{name}}}` | {meaning} |" for name, meaning in ARGUMENTS.items()]
    lines += ["", "## Plans"]
    for plan in PLANS.values():
        places = ", ".join(f"`{{{name}}}`" for name in plan.arguments)
        lines += [
            "",
            f"### {plan.name}",
            "",
            f"For a tool that {plan.title}. Placeholders besides the common ones: {places}.",
            "",
        ]
        lines += ["| module | what happens |", "|---|---|"]
        lines += [f"| {module.name} | {module.title} |" for module in plan.modules]
    lines += ["", "## Rules"]
    for group in dict.fromkeys(rule.group for rule in RULES.values()):
        lines += [
            "",
            f"### {group}",
            "",
            "| rule | severity | what must hold | source | what to do |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| `{r.id}` | {r.severity} | {r.sentence} | {links(r.source)} | {r.tip} |"
            for r in RULES.values()
            if r.group == group
        ]
    return "\n".join(lines) + "\n"


def load_page() -> str:
    """Return the page of load runs, made of the plans' schema and the tables behind it."""
    lines = [
        "# Load runs",
        "",
        "Generated from the tables in `scenarios/load/`: `make docs`.",
        "",
        "`pfxlab load PLAN` starts a lab and prepares keys, certificates, users and devices. Then Locust's users put a",
        "path under load. The report says where it saturates, what limits it, and whether the plan's thresholds are",
        "met (exit code 1 if not). It needs the extra packages: `pip install '.[load]'`. The report is a folder:",
        "`report.html`, `report.json`, the plots as SVG and PNG, `samples.jsonl` (each second), and Locust's own",
        "`locust.html`. Ctrl-C ends a run cleanly: the report covers the time until then, and the exit code is 130.",
        "",
        "![Throughput of a connector against offered load](performance/connector-throughput.svg)",
        "",
        "## Paths",
        "",
        "| path | what is loaded | the rate counts |",
        "|---|---|---|",
    ]
    lines += [f"| `{name}` | {about} | {unit} |" for name, (unit, about) in PATHS.items()]
    lines += ["", "## Shapes", "", "| shape | load over time |", "|---|---|"]
    lines += [f"| `{name}` | {about} |" for name, about in SHAPES.items()]
    lines += ["", "Any path works with any shape: `pfxlab load graph --shape morning --rate 200 --duration 60s`.", ""]
    lines += ["## Plans that come with the lab", "", "| plan | path | shape | what it measures |", "|---|---|---|---|"]
    plans = load_plans.built_in()
    lines += [
        f"| [{p.name}](../scenarios/load/plans/{p.name}.yaml) | {p.path} | {p.shape.kind} | {p.title} |"
        for p in plans.values()
    ]
    example = (load_plans.PLANS / "monday-morning.yaml").read_text("utf-8").rstrip()
    lines += ["", "## A plan of your own", "", "```yaml", example, "```", ""]
    lines += ["`pfxlab load --schema` prints the JSON Schema for editors.", "", "| key | meaning |", "|---|---|"]
    properties = load_plans.schema()["properties"]
    lines += [f"| `{name}` | {one.get('description', '')} |" for name, one in properties.items()]
    shape = properties["shape"]["properties"]
    lines += [f"| `shape/{name}` | {one['description']} |" for name, one in shape.items() if name != "kind"]
    lines += ["", "Thresholds: `measure`, `most` or `least`, and `of` for one kind of request. Measures:", ""]
    lines += ["| measure | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {about} |" for name, about in load_plans.MEASURES.items()]
    lines += [
        "",
        "## What is measured, and how",
        "",
        "Simulated users act at a fixed interval (`pace`). Latency counts from the moment at which a request was due,",
        "so a slow target cannot hide its own delay (coordinated omission). Users that fall behind skip whole",
        "intervals; the report counts them. The saturation point is the mean throughput of the steps that do not keep",
        "up with their load, without the steps in which overload collapses throughput; those are reported separately.",
        "CPU-bound work (RSA, CMS, the devices' TLS) runs in a separate process beside each load generator. Emulator",
        "and connector are separate processes too, so that the report can show which party used the machine.",
        "Percentiles and the standard deviation are exact: every latency of every generator is kept until the end.",
        "",
        "## A running lab",
        "",
        "`--ready-file lab.json` loads the lab that `pfxlab up --ready-file lab.json` started, with its connectors.",
        "The paths checkin and enrollment can thus load a connector other than ours. `--against URL` is the address",
        "of that lab, if it is not the one in its ready file. Only loopback addresses are accepted: reach a lab on",
        "another machine through a tunnel; a real tenant is refused.",
        "",
        "## Many machines",
        "",
        "`--jobs N` starts N load generators here, Locust workers under a master on loopback. For more than one",
        "machine, the run waits for workers and writes what they need, keys and tokens included, to a folder:",
        "",
        "```sh",
        "pfxlab load connector --workers 2 --kit ./kit      # says which ports: the master's, 5557, and the lab's",
        "```",
        "",
        "On each other machine, with a copy of that folder and both ports forwarded (`ssh -L 5557:localhost:5557 …`,",
        "since the lab and the master listen on loopback only):",
        "",
        "```sh",
        "pfxlab load-worker ./kit",
        "```",
        "",
        "`--ui` shows Locust's page on loopback during the run.",
        "",
        "## How many connectors",
        "",
        "`pfxlab plan --users 10000 --devices-per-user 2 --certs-per-user 3 --window 2h` measures what one connector",
        "does on this machine, estimates how many a tenant needs if all devices check in within the window, and checks",
        "the answer with a simulation that moves deliveries through the lab's own queue. `--hsm-rate R` models a",
        "connector whose private-key operations run in an HSM.",
        "",
        "## Soak",
        "",
        "`pfxlab soak` runs the whole lab for an hour of lab time at a high rate. Its exit code is 1 if memory or",
        "database grows by more than 5 % after the first quarter.",
        "",
        "![Memory and database over a soak run](performance/soak.svg)",
    ]
    return "\n".join(lines) + "\n"


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "cli.md": cli_page,
    "routes.md": routes_page,
    "delivery-states.md": states_page,
    "platforms.md": platforms_page,
    "faults.md": faults_page,
    "scenarios.md": scenarios_page,
    "control-api.md": control_page,
    "conformance.md": conformance_page,
    "load.md": load_page,
    "sources.md": sources_page,
    "openapi.json": lambda: _json(document()),
    "load-plan.schema.json": lambda: _json(load_plans.schema()),
    "scenario.schema.json": lambda: _json(scenario_schema()),
}


def write() -> None:
    """Write every generated page."""
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), "utf-8")


if __name__ == "__main__":
    write()
