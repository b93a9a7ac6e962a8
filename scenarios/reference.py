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
        "`emulator/store/delivery_states.py`: `make docs`.\n\n"
        f"```mermaid\n{mermaid()}```\n"
    )


def routes_page() -> str:
    """Return the table of Graph's routes, made of the router's own."""
    lines = [
        "# Graph routes",
        "",
        "Generated from the router: `make docs`. One of the permissions is enough; delegated calls",
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
    """Return the table of what the simulated platforms do, made of the marks on the tests that prove it."""
    lines = [
        "# What the simulated devices do",
        "",
        "Generated from the tests, which prove each row: `make docs`. **documented** by the platform's maker,",
        "**observed** on real devices by others, **assumed** by us: see [sources](sources.md). What is unknown and can",
        "be set otherwise stands in [divergences](divergences.md).",
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
        "Everything that can be made to fail: over the control API (`POST /lab/v1/faults`), in a scenario",
        "(`- fault: {…}`), in a test (`with pfxlab.fault(…)`) or by hand (`pfxlab world fault`). Each fault that",
        "strikes stands in the journal, as `fault injected`. At each place on the way (delay, what comes in place of",
        "an answer, what is done to the answer; a device's network, lock, storage and version) the first fault that",
        "is due strikes alone, in the order in which they were planned.",
        "",
        "| kind | whose | what happens | settings | `pfxlab explain` reports |",
        "|---|---|---|---|---|",
    ]
    for name, kind in KINDS.items():
        settings = [f"`{n}`: {s.meaning} ({_schema_text(s.schema)}; {s.default})" for n, s in kind.settings.items()]
        lines.append(
            f"| `{name}` | {kind.party} | {kind.does} | {'<br>'.join(settings)} | {' or '.join(kind.causes)} |"
        )
    lines += ["", "Which occasions it strikes, and how often:", "", "| setting | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in MATCHES.items()]
    lines += [
        "| `after` | how many fitting occasions are let pass first; 0 when left out, so `after: 2` strikes the third |",
        "| `times` | how often it strikes: a number, or `always`; 1 when left out; `2` fails twice, then succeeds |",
        "| `probability` | of each fitting occasion, above 0 up to 1; the throw follows from seed, fault and number |",
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
        "A scenario is a YAML file: what happens in a lab of its own, step by step, and what must be true. The clock",
        "stands still until a step lets time pass; connectors and devices do what is due, in order. The same seed",
        "gives the same journal. `pfxlab scenario check FILE` says where a file is wrong, `pfxlab scenario run FILE`",
        "runs it.",
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
        "Below `expect`, any of:",
        "",
        "| expectation | beside it | meaning |",
        "|---|---|---|",
    ]
    for name, one in expectations.CONDITIONS.items():
        lines.append(f"| `{name}` | {', '.join(f'`{need}`' for need in one.needs)} | {one.means} |")
    lines += ["", "## The catalogue", "", "| scenario | what it shows | stands for |", "|---|---|---|"]
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
    return {"string": "a text", "object": "names with values"}.get(str(kinds), "nothing")


def control_page() -> str:
    """Return the table of the control API's verbs."""
    lines = [
        "# The control API",
        "",
        "Generated from the verbs in `emulator/lab/verbs.py`: `make docs`. The OpenAPI description is",
        "[openapi.json](openapi.json), which a lab serves as `/lab/v1/openapi.json` too. Address and token are the",
        "ready file's `control_url` and `control_token` (`PFXLAB_CONTROL_URL` and `PFXLAB_CONTROL_TOKEN` in",
        "`pfxlab exec`); send the token as `Authorization: Bearer`. `pfxlab world` speaks it from a shell, the",
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
        "A tool is run once for each module of a plan, each time against a lab that is as new: right in some modules,",
        "wrong on purpose in others. What it sent, what it left behind and how it ended is judged by the rules below.",
        "A broken rule that it **must** keep fails the tool; one that it **should** or **may** keep is a warning.",
        "",
        "```sh",
        "pfxlab conformance run --plan import --html report.html -- my-tool {pfx} {password} {upn}",
        "```",
        "",
        "The tool finds the lab through its arguments, through the environment of `pfxlab exec`, or with Microsoft's",
        "host names built in. It signs in as an application of its own that has just the rights named by `--rights`.",
        "`--expected-failures FILE` (YAML, rule id: reason) lets known failures pass, and fails the run when one",
        "passes unexpectedly, unless `--module` left others out.",
        "[What an import script with Microsoft's SDK gets](conformance-example.md) shows a verdict.",
        "",
        "## Arguments",
        "",
        "| place | filled with |",
        "|---|---|",
    ]
    lines += [f"| `{{{name}}}` | {meaning} |" for name, meaning in ARGUMENTS.items()]
    lines += ["", "## Plans"]
    for plan in PLANS.values():
        places = ", ".join(f"`{{{name}}}`" for name in plan.arguments)
        lines += ["", f"### {plan.name}", "", f"For a tool that {plan.title}; beside the common places {places}.", ""]
        lines += ["| module | what happens |", "|---|---|"]
        lines += [f"| {module.name} | {module.title} |" for module in plan.modules]
    lines += ["", "## Rules"]
    for group in dict.fromkeys(rule.group for rule in RULES.values()):
        lines += [
            "",
            f"### {group}",
            "",
            "| rule | severity | sentence | source | what to do |",
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
        "`pfxlab load PLAN` starts a lab, prepares keys, certificates, users and devices, then lets Locust's users put",
        "a path under load and says where it saturates, what limited it, and whether the plan's thresholds were kept",
        "(exit code 1 when not). It needs the extra packages: `pip install '.[load]'`. The report is a folder:",
        "`report.html`, `report.json`, the plots as SVG and PNG, `samples.jsonl` (each second), and Locust's own",
        "`locust.html`. Ctrl-C ends a run in order; what was measured until then is written, and the exit code is 3.",
        "",
        "![Throughput of a connector against offered load](performance/connector-throughput.svg)",
        "",
        "## Paths",
        "",
        "| path | what is loaded | the rate counts |",
        "|---|---|---|",
    ]
    lines += [f"| `{name}` | {about} | {unit} |" for name, (unit, about) in PATHS.items()]
    lines += ["", "## Shapes", "", "| shape | how the load goes |", "|---|---|"]
    lines += [f"| `{name}` | {about} |" for name, about in SHAPES.items()]
    lines += ["", "Any path takes any shape: `pfxlab load graph --shape morning --rate 200 --duration 60s`.", ""]
    lines += ["## Plans that come with the lab", "", "| plan | path | shape | what it finds out |", "|---|---|---|---|"]
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
        "Simulated users act at a steady beat (`pace`), and latency counts from the beat on which a request was due: a",
        "slow target cannot slow down the clock it is measured by. Who falls behind by whole beats leaves them out,",
        "and they are counted. The saturation point is the mean throughput of the steps that do not keep up with",
        "their load, without those in which overload destroys throughput; that is told apart. What needs a core (RSA,",
        "CMS, the TLS of devices) is done in a process beside each load generator, and emulator",
        "and connector have processes of their own, so that the report can say who used the machine.",
        "Percentiles and the standard deviation are exact: every latency of every generator is kept until the end.",
        "",
        "## A lab that runs already",
        "",
        "`--ready-file lab.json` loads the lab that `pfxlab up --ready-file lab.json` started, with the connectors",
        "that are beside it: so is another connector than ours put under load, by the paths checkin and enrollment.",
        "`--against URL` says where that lab is reached, if not where its ready file says. Only this machine is ever",
        "loaded: a lab elsewhere is reached through a tunnel, and a real tenant is refused.",
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
        "`--ui` shows Locust's own page while the run goes on, at 127.0.0.1.",
        "",
        "## How many connectors",
        "",
        "`pfxlab plan --users 10000 --devices-per-user 2 --certs-per-user 3 --window 2h` measures what one connector",
        "does on this machine, says how many a tenant needs when all its devices ask within the window, and holds the",
        "answer against a simulation that moves deliveries through the lab's own queue. `--hsm-rate R` stands for a",
        "connector whose private operations an HSM does.",
        "",
        "## Soak",
        "",
        "`pfxlab soak` runs the whole lab for an hour of its own time at a high rate and ends with 1 when memory or",
        "database grow by more than a twentieth after the first quarter.",
        "",
        "![Memory and database in the course of a soak](performance/soak.svg)",
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
