"""Reports on a plan: for the terminal, as HTML, as JUnit XML for CI."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any, Final

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from rich.console import Console
from rich.text import Text

from pfxlab.emulator.journal.exchanges import shown
from pfxlab.emulator.wire.numbers import counted
from pfxlab.scenarios.conformance.evidence import ToolRun
from pfxlab.scenarios.conformance.verdict import Judgement, Outcome, Verdict
from pfxlab.scenarios.terminal import Box, Fact, Rows, is_plain, print_box, print_rows

_COLOURS: Final[dict[str, str]] = {
    "PASS": "green", "FAIL": "bold red", "WARNING": "yellow", "SKIPPED": "dim", "NOT EXERCISED": "dim",
    "NOT JUDGED": "bold red", "INCOMPLETE": "bold red",
}  # fmt: skip
_TEMPLATES: Final = Environment(
    loader=PackageLoader("pfxlab.scenarios.conformance"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
_TEMPLATES.filters["ticks"] = lambda text: _ticks(text)
_OUTPUT_SHOWN: Final = 2000
REPORT_IT: Final = (
    "This says nothing about the tool. If it is a bug in the lab, report it to those who maintain PFX Lab, with this"
    " line, the command, and the output of `pfxlab --version`."
)
"""What to do about what could not be judged."""


def _label(one: Verdict) -> str:
    if one.unexpected:
        return "UNEXPECTED PASS"
    return f"{one.outcome} (expected)" if one.expected else one.outcome


def _broken(judgement: Judgement) -> list[Verdict]:
    """Return broken rules and unexpected passes, those that fail the tool first."""
    found = [one for one in judgement.verdicts if one.outcome in ("FAIL", "WARNING") or one.unexpected]
    return sorted(found, key=lambda one: (not one.fails, one.outcome != "FAIL"))


def _ticks(text: str) -> Markup:
    """Return a text as HTML in which text between backticks is code."""
    parts = str(text).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 and number < len(parts) - 1 else part
        for number, part in enumerate(parts)
    )


def print_judgement(console: Console, judgement: Judgement) -> None:
    """Print each broken rule with its sources, a count of the rest, and the verdict."""
    for one in _broken(judgement):
        print_box(console, _box(one))
        for cited in one.rule.fact.cited:
            # An address stays on one line, so that it can be opened from the terminal.
            begin = f"{_title(one)}: source " if is_plain(console) else "  source  "
            console.print(Text(f"{begin}{cited}", style="dim"), soft_wrap=True)
    for lost in judgement.not_judged:
        console.print(Text(f"NOT JUDGED  {lost}", style=_COLOURS["NOT JUDGED"]), soft_wrap=True)
    counts_of_groups, outcomes = [], ["PASS", "FAIL", "WARNING", "NOT EXERCISED"]
    if judgement.not_judged:
        outcomes.append("NOT JUDGED")
    for group in dict.fromkeys(one.rule.group for one in judgement.verdicts):
        mine = [one for one in judgement.verdicts if one.rule.group == group]
        counts = [sum(one.outcome == outcome for one in mine) for outcome in outcomes]
        counts_of_groups.append((group, *(str(count) if count else "" for count in counts)))
    columns = [outcome.lower() for outcome in outcomes]
    print_rows(console, Rows(("group", *columns), counts_of_groups, columns))
    style = "bold green" if judgement.verdict == "PASS" else "bold red"
    runs = f"{counted(len(judgement.runs), 'run')} in {judgement.seconds:.1f} s"
    console.print(f"\n[{style}]{judgement.verdict}[/]  plan {judgement.plan}, {runs}")


def _title(one: Verdict) -> str:
    return f"{_label(one)}  {one.rule.id} ({one.rule.severity})"


def _box(one: Verdict) -> Box:
    facts = [Fact("seen", str(seen), "red" if one.outcome == "FAIL" else "yellow") for seen in one.seen]
    if one.outcome != "PASS":
        facts.append(Fact("do", one.rule.tip, "green"))
    return Box(_title(one), facts, _COLOURS[one.outcome], one.headline)


def junit(judgement: Judgement) -> bytes:
    """Return JUnit XML: a test case for each rule, and an error for each module that could not be judged."""
    outcomes: tuple[Outcome, ...] = ("SKIPPED", "NOT EXERCISED")
    suite = ET.Element(
        "testsuite",
        name=f"pfxlab conformance {judgement.plan}",
        tests=str(len(judgement.verdicts) + len(judgement.not_played)),
        failures=str(sum(one.fails for one in judgement.verdicts)),
        skipped=str(sum(judgement.count(outcome) for outcome in outcomes)),
        errors=str(judgement.count("NOT JUDGED") + len(judgement.not_played)),
        time=f"{judgement.seconds:.3f}",
    )
    name = f"pfxlab.conformance.{judgement.plan}"
    for lost in judgement.not_played:
        case = ET.SubElement(suite, "testcase", classname=name, name=f"module {lost.module}", time="0")
        ET.SubElement(case, "error", message=f"NOT JUDGED: {lost}").text = REPORT_IT
    for one in judgement.verdicts:
        case = ET.SubElement(suite, "testcase", classname=name, name=one.rule.id, time="0")
        seen = "\n".join(map(str, one.seen))
        if one.fails:
            message = f"{_label(one)}: {one.headline}"
            cited = "\n".join(one.rule.fact.cited)
            ET.SubElement(case, "failure", message=message).text = f"{seen}\n{one.rule.tip}\n{cited}"
        elif one.outcome == "NOT JUDGED":
            lines = "\n".join(map(str, one.not_judged))
            ET.SubElement(case, "error", message=f"NOT JUDGED: {one.headline}").text = f"{lines}\n{REPORT_IT}"
        elif one.outcome in outcomes:
            ET.SubElement(case, "skipped", message=one.outcome)
        elif one.outcome in ("WARNING", "FAIL"):
            ET.SubElement(case, "system-out").text = f"{_label(one)}: {one.headline}\n{seen}"
    return bytes(ET.tostring(suite, encoding="utf-8", xml_declaration=True))


def html(judgement: Judgement, when: str) -> str:
    """Return one page: the verdicts with their evidence, then every request.

    No script, no font and no picture from elsewhere; what a tool leaked is left out too (`scrub`).
    """
    template = _TEMPLATES.get_template("report.html")
    order: tuple[Outcome, ...] = ("FAIL", "WARNING", "NOT JUDGED", "PASS", "NOT EXERCISED", "SKIPPED")
    groups = [
        {"name": name, "verdicts": [one for one in judgement.verdicts if one.rule.group == name]}
        for name in dict.fromkeys(one.rule.group for one in judgement.verdicts)
    ]
    return template.render(
        judgement=judgement,
        when=when,
        groups=groups,
        counts=[(outcome, judgement.count(outcome)) for outcome in order],
        broken=_broken(judgement),
        summary=_summary(judgement),
        report_it=REPORT_IT,
        label=_label,
        modules=[_module(run) for run in judgement.runs],
        numbers=_numbers(judgement.verdicts),
    )


def _summary(judgement: Judgement) -> str:
    """Return the verdict as a sentence without a full stop."""
    fails = [one for one in judgement.verdicts if one.fails]
    if fails and all(one.unexpected for one in fails):
        return "The tool passes rules that it was expected to break"
    if fails:
        return "The tool breaks mandatory rules"
    if judgement.not_judged:
        return "The tool breaks no mandatory rule in what could be judged, which is not all"
    known = any(one.expected and one.outcome == "FAIL" for one in judgement.verdicts)
    return (
        "The tool breaks no mandatory rule, expected failures aside"
        if known
        else "The tool passes every mandatory rule"
    )


def _module(run: ToolRun) -> dict[str, Any]:
    return {
        "name": run.module,
        "exit_code": run.exit_code,
        "output": run.scrub(run.output)[-_OUTPUT_SHOWN:],
        "struck": {kind: count for kind, count in run.struck.items() if count},
        "reached": run.facts.get("reached"),
        "exchanges": [shown(one, run.scrub) for one in run.exchanges],
    }


def _numbers(verdicts: Sequence[Verdict]) -> dict[tuple[str, int], list[str]]:
    """Return the broken rules for each request that breaks any."""
    found: dict[tuple[str, int], list[str]] = {}
    for one in verdicts:
        if one.outcome in ("FAIL", "WARNING"):
            for seen in one.seen:
                if seen.exchange:
                    found.setdefault((seen.module, seen.exchange), []).append(one.rule.id)
    return found
