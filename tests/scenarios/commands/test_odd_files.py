"""Files of the user's with odd content: a sentence with the file and the place, exit code 2 or 3, no traceback."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner

from pfxlab.emulator.lab.snapshot import BadSnapshot
from pfxlab.scenarios import bounded_file
from pfxlab.scenarios.cli import main
from pfxlab.scenarios.control import bundle
from pfxlab.scenarios.control.bundle import BadBundle
from pfxlab.scenarios.lab.snapshots import archive

YAML_COMMANDS = {
    "config": ("exec", "--config", "FILE", "true"),
    "check": ("scenario", "check", "FILE"),
    "scenario": ("scenario", "run", "FILE"),
    "known failures": ("conformance", "run", "--plan", "import", "--expected-failures", "FILE", "--", "true"),
    "plan": ("load", "FILE"),
    "steps": ("world", "do", "FILE"),
}
READY_COMMANDS = {
    "journal": ("journal", "--ready-file", "FILE"),
    "explain": ("explain", "--ready-file", "FILE", "--user", "user@pfxlab.example"),
    "world": ("world", "--ready-file", "FILE", "clock"),
    "bundle": ("bundle", "--ready-file", "FILE", "--out", "FILE.zip"),
    "enroll": ("connector", "enroll", "--ready-file", "FILE", "--data", "FILE.connector"),
    "devices": ("devices", "enroll", "--ready-file", "FILE", "--data", "FILE.devices"),
    "pfx": ("pfx", "get", "--ready-file", "FILE"),
    "load": ("load", "--ready-file", "FILE", "graph"),
}


def refusal(command: tuple[str, ...], file: Path) -> str:
    """Return the sentence with which a command refuses a file, which it names."""
    result = CliRunner().invoke(main, [word.replace("FILE", str(file)) for word in command])
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in (2, 3), result.output
    sentence = result.stderr.strip()
    assert (sentence.count("\n"), str(file) in sentence) == (0, True), sentence
    return sentence


@pytest.mark.parametrize("command", YAML_COMMANDS.values(), ids=YAML_COMMANDS)
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a: 1\nb: \xff", "line 2: expected text in UTF-8, got the byte 0xff"),
        (b"a: 1\nb: \x01", "line 2: expected printable text, got the character U+0001"),
        (b'a: 1\nb: "\\ud800"', "line 2: expected whole characters"),
        (b'a: 1\nb: "\\U00110000"', "line 2: expected escapes of Unicode characters"),
        (b"a: 1\nb: !!timestamp x", "line 2: expected a valid timestamp"),
        (b"a: 1\nb: !!int ''", "line 2: expected a valid int"),
        (b"a: 1\nb: !!bool x", "line 2: expected a valid bool"),
        (b"a: 1\nb: !!python/name:os.system", "line 2: expected YAML"),
        (b"a: 1\nb: {[]: 1}", "line 2: expected YAML, got found unhashable key"),
        (b"a: 1\n---\nb: 1", "line 2: expected YAML"),
        (b"a: 1\nb: 1\na: 2", "line 3: expected each key once, got 'a' here and in line 1"),
        (b"- a: {b: 1,\n 'b': 2}", "line 2: expected each key once, got 'b' here and in line 1"),
        (b"a: [", "expected YAML"),
        (b"7", "expected"),
        (b"? \n: 1", "expected"),
        (b"!!set {a, b}", "expected"),
        (b"[.nan, .inf]", "expected"),
        (b"title: !!binary eA==", "expected"),
        (b"seed: .nan\nsteps: [a: .inf]", "expected"),
    ],
)  # fmt: skip
def test_odd_yaml_is_refused_with_its_line(tmp_path: Path, command: tuple[str, ...], data: bytes, said: str) -> None:
    """Each command that reads YAML refuses what is none, and what JSON does not have, in one sentence."""
    file = tmp_path / "x.yaml"
    file.write_bytes(data)
    assert said in refusal(command, file)


@pytest.mark.parametrize(
    ("command", "text", "said"),
    [
        ("config", "seeds: 1", "did you mean seed?"),
        ("config", "tenants: [{domain: a.example, user: []}]", "did you mean users?"),
        ("config", "switches: {page_sise: 1}", "did you mean page_size?"),
        ("config", "tenants: [{domain: a.example, apps: [{id: 11111111-2222-4333-8444-555555555555, name: n,"
                   " certificate: '-----BEGIN CERTIFICATE-----'}]}]", "expected a certificate as PEM"),
        ("scenario", "titel: x\nsteps: [{import: mail}]", "line 1: the file: expected one of"),
        ("scenario", "titel: x\nsteps: [{import: mail}]", "did you mean title?"),
        ("scenario", "title: x\nsteps:\n- imprt: mail", "line 3: steps/1: expected one of"),
        ("scenario", "title: x\nsteps:\n- imprt: mail", "did you mean import"),
        ("plan", "title: t\npath: graph\nshap: {kind: constant, rate: 1, seconds: 5}", "did you mean shape?"),
        ("plan", "title: t\npath: graph\nshape: {kind: constant, rat: 1, seconds: 5}", "did you mean rate"),
        ("known failures", "import.paddin: x", "expected rules of `pfxlab conformance rules`, got import.paddin"),
        ("steps", "step: []", "expected a list of steps, got NoneType"),
    ],
)  # fmt: skip
def test_unknown_key_is_refused_with_a_near_one(tmp_path: Path, command: str, text: str, said: str) -> None:
    """A key that is not known is refused with its place and the key that was probably meant."""
    file = tmp_path / "x.yaml"
    file.write_text(text)
    assert said in refusal(YAML_COMMANDS[command], file)


@pytest.mark.parametrize("command", READY_COMMANDS.values(), ids=READY_COMMANDS)
@pytest.mark.parametrize(
    "data", [b"\xff", b"", b"[", b"[" * 100_000, b"null", b"NaN", b"9" * 5000, b'"\\ud800"', b'{"control_url": 1}'],
    ids=("bytes", "empty", "cut", "deep", "null", "nan", "digits", "surrogate", "types"),
)  # fmt: skip
def test_odd_ready_file_is_refused(tmp_path: Path, command: tuple[str, ...], data: bytes) -> None:
    """Each command that works with a running lab refuses a ready file that is none, in one sentence."""
    file = tmp_path / "ready.json"
    file.write_bytes(data)
    assert "expected the ready file of a running lab, got something else" in refusal(command, file)


def test_odd_address_in_a_ready_file_is_no_lab(tmp_path: Path) -> None:
    """An address that is none is reported as a lab that does not answer."""
    file = tmp_path / "ready.json"
    facts = {"control_token": "t", "ca_file": ""}
    for url in ("https://local host:1", "https://[::1", "nonsense", "https://localhost:x"):
        file.write_text(json.dumps({**facts, "control_url": url}))
        result = CliRunner().invoke(main, ["world", "--ready-file", str(file), "clock"])
        assert (result.exit_code, type(result.exception)) == (3, SystemExit), url
        assert "expected a running lab" in result.stderr


def test_missing_ca_of_a_ready_file_is_named(tmp_path: Path) -> None:
    """A ready file whose CA is gone, as when the lab's folder was deleted, leads to that file."""
    file, url = tmp_path / "ready.json", "https://localhost:1"
    file.write_text(json.dumps({"control_token": "t", "ca_file": str(tmp_path / "ca.pem"), "control_url": url}))
    assert (
        f"expected the lab's CA in {tmp_path / 'ca.pem'}, got no such file"
        in CliRunner().invoke(main, ["world", "--ready-file", str(file), "clock"]).stderr
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "expected a line for each PFX, got none"),
        (b"pfx,password_file,upn,purpos\na,b,c,signing", "line 1: expected the columns pfx, password_file, upn, purpose"),
        (b"pfx,password_file,upn,purpos\na,b,c,signing", "did you mean purpose?"),
        (b"pfx,password_file,upn,pfx\na,b,c,d", "line 1: expected each column once, got 'pfx' twice"),
        (b"pfx,password_file,upn\na,,c", "line 2: expected password_file, got none"),
        (b"pfx,password_file,upn\n\xff", "expected CSV in UTF-8"),
        (b"pfx,password_file,upn\n" + b"A" * 200_000, "expected CSV in UTF-8"),
    ],
)  # fmt: skip
def test_odd_manifest_is_refused_with_its_line(tmp_path: Path, data: bytes, said: str) -> None:
    """A manifest with unknown columns, without a line, or that is no text is refused in one sentence."""
    file = tmp_path / "list.csv"
    file.write_bytes(data)
    assert said in refusal(("pfx", "import", "--manifest", "FILE"), file)


@pytest.mark.parametrize(
    "data", [b"\xff", b"[]", b"[" * 100_000, b'{"thresholds": 1}', b'{"thresholds": [], "shape": {}}']
)
def test_odd_kit_is_refused(tmp_path: Path, data: bytes) -> None:
    """A kit of a load run whose plan is none is refused before a load generator is started."""
    (tmp_path / "plan.json").write_bytes(data)
    assert "plan.json: expected the plan of a load run" in refusal(("load-worker", "FILE"), tmp_path)


@pytest.mark.parametrize("command", [YAML_COMMANDS["config"], YAML_COMMANDS["plan"], ("replay", "FILE")])
def test_file_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    """A file is read up to a bound, whatever its size is said to be."""
    monkeypatch.setattr(bounded_file, "TEXT", 1000)
    monkeypatch.setattr(bundle, "LARGEST", 1000)
    assert "expected at most 1,000 bytes, got more" in refusal(command, Path("/dev/zero"))


START = {"seed": 7, "domain": "pfxlab.example", "explain": False, "autoApproveUpn": None, "switches": {}, "tenants": [],
         "parts": []}  # fmt: skip
ASKED = {"afterRequests": 0, "method": "POST", "path": "/clock", "body": {}, "byCommand": False}
MANIFEST = {"format": "pfxlab bundle 1", "madeBy": "0.1.0", "kind": "lab", "timed": False, "start": START, "end": {},
            "asked": [ASKED]}  # fmt: skip


def packed(manifest: Mapping[str, Any] | bytes, journal: bytes = b"", **more: bytes) -> bytes:
    """Return a bundle with that manifest."""
    written, held = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode(), io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in {"manifest.json": written, "journal.jsonl": journal, **more}.items():
            made.writestr(name, data)
    return held.getvalue()


def start(**changed: Any) -> dict[str, Any]:
    """Return a manifest whose start has other values."""
    return {**MANIFEST, "start": {**START, **changed}}


def asked(**changed: Any) -> dict[str, Any]:
    """Return a manifest whose request has other values."""
    return {**MANIFEST, "asked": [{**ASKED, **changed}]}


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (b"\xff", "expected JSON in UTF-8"),
        (b"{\n]", "line 2: expected JSON"),
        (b"[" * 100_000, "expected JSON in UTF-8"),
        (b"9" * 5000, "expected JSON in UTF-8"),
        (b"[]", "expected a JSON object, got list"),
        (b'{"format": "pfxlab bundle 1", "start": {"seed": 1, "seed": 2}}', "expected each key once, got 'seed' twice"),
        (b"{}", "format: expected 'pfxlab bundle 1', got 'none'"),
        ({**MANIFEST, "format": "pfxlab bundle 99"}, "format: expected 'pfxlab bundle 1', got 'pfxlab bundle 99'"),
        ({**MANIFEST, "kind": []}, "kind: expected the run of a scenario or a lab, got '[]'"),
        ({**MANIFEST, "strat": 1}, "the file: expected one of asked, end, format, kind, madeBy, start, timed, got strat;"),
        ({**MANIFEST, "strat": 1}, "did you mean start"),
        ({**MANIFEST, "timed": 0}, "timed: expected true or false, got 0"),
        ({**MANIFEST, "asked": {"a": 1}}, "asked: expected a list such as [a, b], got an object"),
        ({**MANIFEST, "end": [[]]}, "end: expected values such as {a: b}, got a list"),
        ({**MANIFEST, "end": {"fault": []}}, "did you mean faults?"),
        ({**MANIFEST, "start": {}}, "start: expected seed, domain, explain, autoApproveUpn, switches, got none"),
        (start(seeds=1), "start: expected one of autoApproveUpn, domain, explain, parts, seed, switches, tenants, got seeds;"),
        (start(seed=float("inf")), "start/seed: expected a whole number of at most 100 digits, got inf"),
        (start(seed=1e308), "start/seed: expected a whole number of at most 100 digits, got 1e+308"),
        (start(seed="7"), "start/seed: expected a whole number of at most 100 digits, got '7'"),
        (start(domain="../a\n"), "start/domain: expected a domain such as pfxlab.example, got"),
        (start(switches={"page_sise": 1}), "start/switches: expected switches of docs/divergences.md, got page_sise"),
        (start(switches={"page_size": float("nan")}), "start/switches: switches/page_size: expected int from 1, got nan"),
        (start(autoApproveUpn="\ud800"), "start/autoApproveUpn: expected a user principal name or nothing, got"),
        (start(parts=["conector"]), "start/parts/1: expected one of connector, devices, got 'conector'"),
        (start(tenants=[{}]), "expected a run without configured tenants"),
        (asked(afterRequests="0"), "asked/1/afterRequests: expected a whole number from 0 to 1000000000, got '0'"),
        (asked(afterRequests=-1), "asked/1/afterRequests: expected a whole number from 0 to 1000000000, got -1"),
        (asked(method="GET /\r\n"), "asked/1/method: expected one of POST"),
        (asked(path="clock"), "asked/1/path: expected a path such as /clock, got"),
        (asked(path="/\udc00"), "asked/1/path: expected a path such as /clock, got"),
        (asked(bycommand=True), "asked/1: expected one of afterRequests, body, byCommand, method, path, got bycommand;"),
        ({**MANIFEST, "kind": "scenario"}, "start: expected one of scenario, seed, time, got autoApproveUpn"),
    ],
)  # fmt: skip
def test_odd_manifest_of_a_bundle_is_refused_with_its_place(
    tmp_path: Path, manifest: Mapping[str, Any] | bytes, said: str
) -> None:
    """A bundle whose manifest has a wrong type, version, number or name is refused with the place."""
    file = tmp_path / "run.zip"
    file.write_bytes(packed(manifest))
    sentence = refusal(("replay", "FILE", "--", "true"), file)
    assert said in sentence
    assert sentence.startswith(str(file))


def test_odd_archives_are_refused_with_the_member(tmp_path: Path) -> None:
    """A bundle that lacks a file, holds too much or is encrypted or cut is refused, and nothing of it is unpacked."""
    file, scenario = tmp_path / "run.zip", {**MANIFEST, "kind": "scenario", "start": {"seed": 1, "scenario": "../../x"}}
    encrypted = bytearray(packed(MANIFEST))
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    strange = bytearray(packed(MANIFEST))
    strange[strange.index(b"PK\x01\x02") + 10] = 99
    for data, said in (
        (b"", "expected a bundle written by `pfxlab bundle`"),
        (b"PK\x03\x04", "expected a bundle written by `pfxlab bundle`"),
        (packed(scenario), "expected scenario.yaml in it, got no such file"),
        (packed(scenario, **{"scenario.yaml": b"title: \xff"}), "scenario.yaml: expected text in UTF-8"),
        (packed(scenario, **{"scenario.yaml": b"titel: x"}), "scenario.yaml, line 1: the file: expected one of"),
        (packed(MANIFEST, b"\xff"), "journal.jsonl: expected text in UTF-8"),
        (packed(MANIFEST, b"\n" * 2_000_001), "journal.jsonl: expected at most 2,000,000 lines, got more"),
        (bytes(encrypted), "manifest.json: expected a whole file, got a damaged or encrypted one"),
        (bytes(strange), "manifest.json: expected a whole file, got a damaged or encrypted one"),
    ):
        file.write_bytes(data)
        assert said in refusal(("replay", "FILE", "--", "true"), file)
    assert list(tmp_path.iterdir()) == [file]


def test_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in a bundle that stands for more than the bound is refused by its size, however small the bundle is."""
    monkeypatch.setattr(bundle, "LARGEST", 100_000)
    file = tmp_path / "run.zip"
    file.write_bytes(packed(MANIFEST, b"a" * 10_000_000))
    assert "journal.jsonl: expected at most 100,000 bytes, got more" in refusal(("replay", "FILE", "--", "true"), file)


def test_changed_bytes_of_archives_are_refused(tmp_path: Path) -> None:
    """Whatever bytes of a bundle or a snapshot are changed, reading it gives its own error or what was written."""
    random, kept = Random(1), tmp_path / "a.snapshot"  # noqa: S311
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as made:
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
            made.writestr(f"{method}.bin", b"x" * 50, method)
        made.writestr("manifest.json", json.dumps(MANIFEST | {"parts": {f"{n}.bin": "" for n in (0, 8, 12, 14)}}),
                      zipfile.ZIP_LZMA)  # fmt: skip
        made.writestr("journal.jsonl", b"{}\n", zipfile.ZIP_BZIP2)
    refused = 0
    for _ in range(400):
        data = bytearray(held.getvalue())
        for _ in range(random.choice((1, 1, 4))):
            data[random.randrange(len(data))] = random.randrange(256)
        kept.write_bytes(bytes(data))
        try:
            bundle.unpack(bytes(data))
        except BadBundle:
            refused += 1
        with pytest.raises(BadSnapshot):
            archive.read(kept)
    assert refused > 100
