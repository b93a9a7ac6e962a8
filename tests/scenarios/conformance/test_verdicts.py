"""Verdicts of the command on real tools: our own passes, a script with Microsoft's SDK gets the documented verdict."""

import json
import re
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from defusedxml import ElementTree
from rich.console import Console

from pfxlab.scenarios.cli import main
from pfxlab.scenarios.conformance.evidence import ToolRun
from pfxlab.scenarios.conformance.offered import PLAN_NAMES
from pfxlab.scenarios.conformance.plans import PLANS
from pfxlab.scenarios.conformance.report import html, junit, print_judgement
from pfxlab.scenarios.conformance.rules import RULES
from pfxlab.scenarios.conformance.verdict import Judgement, Outcome, Seen, Verdict, judge, with_expected
from tests.clients.test_official_sdk import PFXLAB
from tests.scenarios.conformance.test_tool_process import alive, wait_until
from tests.test_house_rules import ROOT

FILES = ("{pfx}", "--password-file", "{password_file}", "--user", "{upn}", "--purpose", "{purpose}")
OWN = {
    "import": ("pfx", "import", *FILES),
    "bulk": ("pfx", "import", "--manifest", "{manifest}"),
    "update": ("pfx", "import", "--update", *FILES),
    "remove": ("pfx", "remove", "--pair", "{upn}:{thumbprint}"),
    "read": ("pfx", "get", "--user", "{upn}"),
}
SHOWN_BY = ("plain", "signing", "ambiguous-503", "refused-400", "non-ascii-password", "purpose-mismatch")
"""Modules in which the script breaks all that it breaks; each run of the SDK takes seconds."""

SDK = "examples/sdk_import/import_with_sdk.py"


def command(*arguments: str) -> Result:
    """Return the output of `pfxlab conformance`."""
    return CliRunner().invoke(main, ["conformance", *arguments])


def judged(plan: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Return a run of the command as a user types it."""
    command = [*PFXLAB, "conformance", "run", "--plan", plan, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.parametrize(
    "plan", ["update", *(pytest.param(one, marks=pytest.mark.campaign) for one in OWN if one != "update")]
)
def test_own_commands_pass(plan: str) -> None:
    """Our own import commands pass every plan, with one warning: a right that is not needed."""
    done = judged(plan, "--json", "--", *PFXLAB, *OWN[plan])
    told = json.loads(done.stdout)
    broken = {rule["id"] for rule in told["rules"] if rule["outcome"] in ("FAIL", "WARNING")}
    assert broken <= {"privilege-unused"}, [r["evidence"] for r in told["rules"] if r["id"] in broken]
    assert (done.returncode, told["verdict"], told["plan"]) == (0, "PASS", plan)
    assert [one["name"] for one in told["modules"]] == [module.name for module in PLANS[plan].modules]


def test_sdk_script_gets_the_documented_verdict(tmp_path: Path) -> None:
    """The script with Microsoft's SDK breaks the rules that docs/conformance-example.md lists, and no others."""
    shown = (ROOT / "docs" / "conformance-example.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| (?:FAIL|WARNING) \| `([\w-]+)` \| ([^|]+) \|", shown, re.MULTILINE))
    words = ("{pfx}", "{password_file}", "{upn}", "{public_key_file}", "{provider}", "{key_name}")
    modules = [word for name in SHOWN_BY for word in ("--module", name)]
    done = judged("import", *modules, "--json-file", str(tmp_path / "v.json"), "--html", str(tmp_path / "v.html"),
                  "--junit", str(tmp_path / "v.xml"), "--", sys.executable, SDK, *words)  # fmt: skip
    assert done.returncode == 1
    told = json.loads((tmp_path / "v.json").read_text())
    assert set(rows) == {rule["id"] for rule in told["rules"] if rule["outcome"] in ("FAIL", "WARNING")}
    evidence = {rule["id"]: " ".join(rule["evidence"]) for rule in told["rules"]}
    for rule in ("crypto-pkcs12", "crypto-padding-declared", "identity-purpose", "truth"):
        assert rows[rule].strip() in evidence[rule]
    assert f"FAIL  plan import, {len(SHOWN_BY)} runs" in done.stdout
    suite = ElementTree.parse(tmp_path / "v.xml").getroot()
    assert suite is not None
    assert int(suite.get("failures", "0")) == sum(rule["outcome"] == "FAIL" for rule in told["rules"])
    page = (tmp_path / "v.html").read_text("utf-8")
    assert page.count('<section class="card') == len(rows)
    assert "<script" not in page
    assert "http://" not in page
    assert "src=" not in page
    links = set(re.findall(r"href=\"([^#\"][^\"]*)\"", page))
    assert links == {source.address for rule in told["rules"] for source in RULES[rule["id"]].fact.pages}
    assert "Bearer …" in page
    assert re.search(r"eyJ[\w-]{20}", page) is None
    for anchor in set(re.findall(r"href=\"#([^\"]+)\"", page)):
        assert f'id="{anchor}"' in page


def test_tool_started_by_hand() -> None:
    """Without a command the lab shows the arguments to start the tool with, and asks for its exit code."""
    words = ["conformance", "run", "--plan", "import", "--module", "wrong-password", "--attach"]
    done = CliRunner().invoke(main, words, input="1\n")
    assert done.exit_code == 0, done.output
    assert "Start the tool now with:" in done.output
    assert "password_file" in done.output
    assert "PASS  plan import, 1 run in" in done.output


def test_offered_plans_are_those_there_are() -> None:
    """The plan names that the command offers before it loads any are those of the plans, in order."""
    assert list(PLANS) == list(PLAN_NAMES)


def test_rules_and_plans_are_listed() -> None:
    """The lists name every rule and plan, as text with the next step and as JSON."""
    assert [one["id"] for one in json.loads(command("rules", "--json").stdout)] == list(RULES)
    assert "Next: pfxlab conformance run" in command("rules").stdout
    plans = json.loads(command("plans", "--json").stdout)
    assert [one["name"] for one in plans] == list(PLANS)
    assert "{pfx}" in command("plans").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--plan", "import"), "expected a COMMAND after --, or --attach"),
        (
            ("run", "--plan", "import", "--module", "nothing", "--", "sh"),
            "expected modules of plan import, got nothing",
        ),
        (("run", "--plan", "import", "--", "no-such-command-4711"), "expected a command on the path"),
        (("run", "--plan", "read", "--", "sh", "{pfx}"), "expected arguments of this plan"),
        (("run", "--plan", "dance", "--", "sh"), "got 'dance'"),
        (("run", "--plan", "import", "--", "sh", "{pxf}"), "such as {pfx}, got {pxf}"),
        (("run", "--plan", "import", "--rights", "Foo.Bar", "--", "sh"), "got Foo.Bar"),
        (
            ("run", "--plan", "import", "--json-file", "no-such-folder/v.json", "--", "sh"),
            "expected a folder that exists",
        ),
        (("run", "--plan", "connector", "--attach"), "expected a plan whose tools end by themselves, got connector"),
    ],
)
def test_bad_usage(arguments: tuple[str, ...], said: str) -> None:
    """A command that cannot be run ends with code 2 and a sentence before anything is started."""
    done = command(*arguments)
    assert (done.exit_code, said in done.output) == (2, True), done.output


def test_tool_that_cannot_be_started(tmp_path: Path) -> None:
    """A file that the system cannot run ends with code 3 and the module's name, without a verdict."""
    script = tmp_path / "tool"
    script.write_text("echo no interpreter is named\n")
    script.chmod(0o755)
    done = judged("import", "--module", "plain", "--json", "--", str(script))
    assert (done.returncode, done.stdout) == (3, "")
    assert "Could not run module plain: " in done.stderr
    assert "Traceback" not in done.stderr


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C ends the tool too, with the exit code that shells expect and without a verdict."""
    script = f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; sleep 60; true"
    words = [*PFXLAB, "conformance", "run", "--plan", "import", "--module", "plain", "--", "sh", "-c", script]
    # What runs tests in the background ignores SIGINT, and so would the command.
    heeding = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    words = [sys.executable, "-c", heeding, *words]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        wait_until((tmp_path / "pid").exists)
        running.send_signal(signal.SIGINT)
        out, told = running.communicate(timeout=600)
    assert (running.returncode, told) == (130, "Interrupted; the tool was stopped.\n")
    assert "PASS" not in out
    number = int((tmp_path / "pid").read_text())
    wait_until(lambda: not alive(number))


def test_expected_failures(tmp_path: Path) -> None:
    """A known failure passes the run, an unexpected pass of a complete plan fails it, and an unknown rule is refused."""
    known = tmp_path / "known.yaml"
    known.write_text(yaml.safe_dump({"works": "the tool is not written yet", "truth": "nor this"}))
    run = ("--module", "plain", "--expected-failures", str(known), "--", "sh", "-c", "exit 0")
    done = judged("import", *run)
    assert (done.returncode, "FAIL (expected)" in done.stdout) == (0, True), done.stdout
    known.write_text(yaml.safe_dump({"works": "x", "truth": "x", "secret-output": "mended since"}))
    done = judged("import", *run)
    assert (done.returncode, "UNEXPECTED PASS" in done.stdout) == (0, False), done.stdout
    done = judged("read", *run[2:])
    assert (done.returncode, "UNEXPECTED PASS" in done.stdout) == (1, True), done.stdout
    known.write_text("no-such-rule: x\n")
    assert judged("import", *run).returncode == 2
    known.write_text("- a list\n")
    assert judged("import", *run).returncode == 2


def test_every_module_is_named() -> None:
    """Identical evidence from several modules is shown once, with all their names."""
    runs = [
        ToolRun(name, [], 0, "", [], {}, facts={"reached": False}) for name in ("one-here", "two-here", "one-there")
    ]
    shown = judge(RULES["truth"], runs).seen
    assert [str(one) for one in shown] == ["one-here: exit code 0; the task is not done (also in two-here, one-there)"]


def test_verdicts_are_counted() -> None:
    """A rule broken once is broken; one without evidence is not exercised; one without its modules is skipped."""
    rule = RULES["bulk-continues"]
    assert judge(rule, []).outcome == "NOT EXERCISED"
    assert judge(rule, [], ["one-bad-file"]).outcome == "SKIPPED"
    seen = [Seen("m", False, "x", 3)]
    marked = with_expected(
        [Verdict(rule, "FAIL", seen, 1), Verdict(RULES["works"], "PASS")], {"works": "y", rule.id: "z"}
    )
    assert [(one.expected, one.unexpected, one.fails) for one in marked] == [(True, False, False), (False, True, True)]
    assert Judgement("import", "t", marked).verdict == "FAIL"
    assert str(seen[0]) == "m, request 3: x"


@pytest.mark.parametrize(("outcome", "headline"), [("FAIL", "is not ASCII"), ("PASS", "is ASCII")])
def test_headline_says_what_is_wrong(outcome: Outcome, headline: str) -> None:
    """Output, JSON, JUnit and HTML show what is wrong for a broken rule, and the rule for an unexpected pass."""
    one = Verdict(RULES["crypto-ascii"], outcome, [Seen("m", outcome == "PASS", "x", 0)], unexpected=outcome == "PASS")
    judgement = Judgement("import", "t", [one])
    console = Console(width=80, file=StringIO(), record=True)
    print_judgement(console, judgement)
    shown = [console.export_text(), junit(judgement).decode(), html(judgement, "today")]
    shown += [rule["headline"] for rule in judgement.to_json()["rules"]]
    ends = [":", ".", ".", "."]
    assert [f"The password {headline}{end}" in text for text, end in zip(shown, ends, strict=True)] == [True] * 4
    assert judgement.to_json()["rules"][0]["sentence"] == "The password is ASCII."


def test_verdict_shows_title_and_address() -> None:
    """Terminal, JSON, JUnit and HTML show the source page of a broken rule, or why the lab assumes it."""
    broken = [Verdict(RULES[name], "FAIL", [Seen("m", False, "x", 0)], 1) for name in ("crypto-length", "no-duplicate")]
    judgement = Judgement("import", "t", broken)
    address = "https://www.rfc-editor.org/rfc/rfc8017#section-7.1.1"
    page = f"RFC 8017, PKCS #1, section 7.1.1, {address}"
    console = Console(width=80, file=StringIO(), record=True)
    print_judgement(console, judgement)
    shown = console.export_text()
    assert f": source {page}" in shown
    assert ": source assumed: Deduced from the id" in shown
    told = {rule["id"]: rule for rule in judgement.to_json()["rules"]}
    assert (told["crypto-length"]["source"], told["crypto-length"]["sourceAnchor"]) == (page, "oaep-length")
    assert page in junit(judgement).decode()
    report = html(judgement, "today")
    assert f'<a href="{address}">RFC 8017, PKCS #1, section 7.1.1</a>' in report
    assert "assumed: Deduced from the id" in report
