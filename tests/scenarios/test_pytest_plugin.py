"""The pytest plugin as users see it: fixtures in their project, the report of a failed test, the example project."""

import json
import re
import subprocess
import sys
import textwrap
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pfxlab.emulator.lab.verbs import VerbFailed
from pfxlab.scenarios.lab.tenant.names import Unknown
from pfxlab.scenarios.testing import LabSession, TestLab
from tests.test_house_rules import ROOT
from tests.tracing import traced

USERS = "/v1.0/users"


def run_tests(folder: Path, text: str, *options: str, measured: bool = False) -> subprocess.CompletedProcess[str]:
    """Return pytest's result for a test file in a separate project."""
    (folder / "test_theirs.py").write_text(textwrap.dedent(text))
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    environment = traced() if measured else None
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", *options]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
    )


def test_each_test_finds_the_lab_as_new(tmp_path: Path) -> None:
    """Changes of one test are gone in the next, ids included, and all tests share the server."""
    done = run_tests(
        tmp_path,
        """
        seen = []
        def leave_traces(pfxlab):
            seen.append((pfxlab.url, pfxlab.now, pfxlab.add_device().lab.world.devices.get("phone").identity.device_id))
            assert len(pfxlab.graph.get("/v1.0/users")["value"]) == 2
            pfxlab.add_user("new@pfxlab.example")
            pfxlab.set_clock("2027-01-01T00:00:00Z")
            pfxlab.import_certificate(pfxlab.certificate())
            pfxlab.do("fault", kind="status", times="always")
        def test_one(pfxlab): leave_traces(pfxlab)
        def test_two(pfxlab): leave_traces(pfxlab)
        def test_both_alike(): assert seen[0] == seen[1]
        """,
    )
    assert "3 passed" in done.stdout, done.stdout


def test_failed_test_explains(tmp_path: Path) -> None:
    """A missing certificate fails the test with the first broken link, and the report has the rest."""
    done = run_tests(
        tmp_path,
        """
        def test_theirs(pfxlab):
            mail = pfxlab.certificate(chain=True)
            pfxlab.profile("ios")
            phone = pfxlab.add_device()
            pfxlab.import_certificate(mail)
            pfxlab.graph.post("/beta/deviceManagement/userPfxCertificates", {"thumbprint": "x"})
            with pfxlab.fault("status", route="/nowhere"):
                pfxlab.advance("1d")
            assert phone.has(mail)
        """,
        measured=True,
    )
    assert "1 failed" in done.stdout
    assert "assert TooManyCertificates: Export the PFX without its chain" in done.stdout
    report = done.stdout.partition("PFX Lab -")[2]
    assert re.search(r"seed 7, lab time \d{4}-\d\d-\d\d", report)
    assert "on phone: TooManyCertificates: " in report
    assert "refused: POST /beta/deviceManagement/userPfxCertificates: " in report
    assert "fault that never struck: fault-1 (status)" in report


def test_marks_and_parameters(tmp_path: Path) -> None:
    """The mark prepares a lab; users and devices are parametrised; strict runs fail tests with idle faults."""
    text = """
        import pytest
        @pytest.mark.pfxlab(users=["a@pfxlab.example", {"upn": "b@pfxlab.example", "sign_in": "blocked"}], devices={"pc": "windows"}, switches={"page_size": 1},
                            start="2026-03-02T08:00:00Z", connector=False)
        def test_marked(pfxlab, pfxlab_graph):
            assert pfxlab.now.isoformat() == "2026-03-02T08:00:00+00:00"
            assert pfxlab.device("pc").holds() == []
            assert pfxlab.world.lab.connectors() == []
            assert [u["userPrincipalName"] for u in pfxlab_graph.get("/v1.0/users?$filter=startswith(userPrincipalName,'a@')")["value"]] == ["a@pfxlab.example"]
            assert pfxlab_graph.get("/beta/users/b@pfxlab.example?$select=accountEnabled")["accountEnabled"] is False
        @pytest.mark.parametrize("pfxlab_user", ["o'neil@pfxlab.example"], indirect=True)
        @pytest.mark.parametrize("pfxlab_device", ["macos", "windows"], indirect=True)
        def test_parametrised(pfxlab, pfxlab_user, pfxlab_device):
            mail = pfxlab.certificate(user=pfxlab_user)
            pfxlab.profile(pfxlab_device.name)
            pfxlab.import_certificate(mail)
            pfxlab.settle()
            assert pfxlab_device.has(mail)
            with pfxlab.fault("reset", route="/nowhere"):
                pass
    """
    assert "3 passed" in run_tests(tmp_path, text).stdout
    done = run_tests(tmp_path, text, "--pfxlab-strict", "--pfxlab-seed", "9")
    assert "3 passed, 2 errors" in done.stdout
    assert "faults that never struck: fault-1 (reset)" in done.stdout


def test_documented_tests_pass(tmp_path: Path) -> None:
    """The tests that docs/import-tools.md and docs/pytest.md show pass as they stand."""
    shown = [
        re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "pytest.md").read_text("utf-8"), re.DOTALL),
        re.findall(
            r"<!-- a test[^\n]*-->\n```python\n(.*?)```",
            (ROOT / "docs" / "import-tools.md").read_text("utf-8"),
            re.DOTALL,
        ),
    ]
    assert [len(blocks) for blocks in shown] == [1, 1]
    text = "\n\n".join(block for blocks in shown for block in blocks)
    assert text.count("def test_connector_is_down_on_monday") == 2
    done = run_tests(
        tmp_path, text.replace("down_on_monday(pfxlab, ", "down_on_tuesday(pfxlab, "), "-o", "asyncio_mode=auto"
    )
    assert "5 passed" in done.stdout, done.stdout


def test_many_tests_share_one_server(tmp_path: Path) -> None:
    """Forty tests that use the lab have one server between them, each with a lab as new."""
    done = run_tests(
        tmp_path,
        """
        import pytest
        seen = []
        @pytest.mark.parametrize("n", range(40))
        def test_one(n, pfxlab, pfxlab_graph):
            seen.append(pfxlab.url)
            pfxlab.import_certificate(pfxlab.certificate())
            assert len(pfxlab_graph.get("/beta/deviceManagement/userPfxCertificates")["value"]) == 1
        def test_of_all():
            assert (len(seen), len(set(seen))) == (40, 1)
        """,
        "-q",
    )
    assert "41 passed" in done.stdout


def test_example_project_passes() -> None:
    """The example project's tests pass as they stand, against the script that it is about."""
    folder = ROOT / "examples" / "import_script"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ passed", done.stdout)


def test_example_project_finds_mistakes(tmp_path: Path) -> None:
    """A script that repeats every failed request is found out by the example's tests, and no other mistake is."""
    source = ROOT / "examples" / "import_script"
    for name in ("import_certificates.py", "test_import_certificates.py", "pytest.ini"):
        (tmp_path / name).write_text((source / name).read_text())
    script = tmp_path / "import_certificates.py"
    careful = "            if is_there(session, graph, record):\n                return\n"
    assert careful in script.read_text()
    script.write_text(script.read_text().replace(careful, "            continue\n"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert "1 failed" in done.stdout
    assert "FAILED test_import_certificates.py::test_unclear_answer_leads_to_no_second_import" in done.stdout


@pytest.fixture(scope="module")
def session() -> Iterator[TestLab]:
    """Return a lab as other test frameworks open it."""
    with LabSession(seed=5) as lab:
        yield lab


@pytest.fixture
def lab(session: TestLab) -> TestLab:
    """Return the same, as new."""
    session.reset()
    return session


def test_socket_and_no_socket_are_the_same_graph(lab: TestLab) -> None:
    """Data written in process is read over HTTPS, and vice versa."""
    import ssl

    assert lab.graph.get(USERS).status == 200
    context = ssl.create_default_context(cafile=lab.facts["ca_file"])
    headers = {"Authorization": f"Bearer {lab.graph.token()}"}
    request = urllib.request.Request(f"{lab.url}{USERS}", headers=headers)  # noqa: S310 - the lab's own address
    with urllib.request.urlopen(request, context=context) as answer:  # noqa: S310
        over_https = json.load(answer)["value"]
    assert over_https == lab.graph.get(USERS)["value"]


def test_graph_in_process_refuses_as_over_https(lab: TestLab) -> None:
    """Refusals have Graph's status and body; a user's client has the user's rights; text answers are text."""
    refused = lab.graph.post("/beta/deviceManagement/userPfxCertificates", {"thumbprint": "x"})
    assert (refused.status, refused["error"]["code"]) == (400, "BadRequest")
    assert lab.graph.patch("/beta/deviceManagement/userPfxCertificates/none", {}).status in (400, 404)
    assert lab.graph.delete("/beta/deviceManagement/userPfxCertificates/none").status in (204, 404)
    me = lab.graph.as_user(lab.user).get("/v1.0/me")
    assert me["userPrincipalName"] == lab.user
    assert lab.graph.get("/beta/deviceManagement/userPfxCertificates/$count").body == "0"
    assert lab.graph.get("/v1.0/$metadata").body.startswith("<?xml")


def test_journal_wait_names_the_nearest_entry(lab: TestLab) -> None:
    """A wait ends with the entry, from any thread; one that times out names the nearest entry."""
    timer = threading.Timer(0.1, lambda: lab.graph.get("/v1.0/groups"))
    timer.start()
    assert lab.journal.wait_for(path="groups").fields["method"] == "GET"
    timer.join()
    with pytest.raises(AssertionError, match=r"nearest: request: {'method': \('PATCH', 'GET'\)}"):
        lab.journal.wait_for(seconds=0, path="groups", method="PATCH")
    assert lab.journal.count(path="groups") == 1


def test_state_time_and_switches(lab: TestLab) -> None:
    """Snapshots are restored, the clock is set, switches last for a block, and verbs of scenarios are carried out."""
    before = lab.snapshot()
    lab.add_group("Contractors", ["ben@pfxlab.example"])
    lab.profile("ios", name="p")
    lab.assign("p", ["Contractors"])
    lab.set_clock("2030-01-01T00:00:00Z")
    lab.restore(before)
    assert lab.now.year < 2030
    with pytest.raises(Unknown, match="expected a group"):
        lab.assign("p", ["Contractors"])
    records = "/beta/deviceManagement/userPfxCertificates"
    for name in ("one", "two"):
        lab.import_certificate(lab.certificate(name))
    with lab.switches(page_size=1):
        assert "@odata.nextLink" in lab.graph.get(records).body
    assert "@odata.nextLink" not in lab.graph.get(records).body
    assert lab.do("user", "zoe@pfxlab.example") == "zoe@pfxlab.example in the directory"
    with pytest.raises(VerbFailed):
        lab.do("expect", records=5)
    with pytest.raises(AssertionError, match="expected mail to be imported, got UserUnknown"):
        lab.import_certificate(lab.certificate(), upn="nobody@pfxlab.example")


def test_devices_show_their_certificates(lab: TestLab) -> None:
    """A device shows what it has and why not; a locked one installs nothing until it is unlocked."""
    mail = lab.certificate()
    lab.profile("ios")
    phone = lab.add_device()
    lab.import_certificate(mail)
    phone.lock()
    lab.settle()
    assert not phone.has(mail)
    assert repr(phone.has("mail")).startswith("DeviceBusy: Unlock the device")
    phone.lock(locked=False)
    assert phone.check_in() > 1
    lab.settle()
    assert phone.has(mail.thumbprint)
    assert phone.holds() == ["mail"]
    assert [told.arrived for told in lab.explain()] == [True]
    assert repr(mail).count(mail.password) == 0


def test_environment_points_tools_at_the_lab(lab: TestLab) -> None:
    """The variables are those of `pfxlab exec`, and the ready file they name is readable by its owner only."""
    variables = lab.environment
    assert variables["PFXLAB_GRAPH_URL"] == lab.url
    ready = Path(variables["PFXLAB_READY_FILE"])
    assert json.loads(ready.read_text())["graph_url"] == lab.url
    assert ready.stat().st_mode & 0o777 == 0o600


async def test_verbs_are_awaited(lab: TestLab) -> None:
    """In async code each verb is a coroutine that does not block the test's event loop."""
    mail = await lab.aio.certificate()
    await lab.aio.profile("ios")
    await lab.aio.add_device()
    await lab.aio.import_certificate(mail)
    assert await lab.aio.advance("1d") == ["phone"] * 6
    assert (await lab.aio.explain())[0].arrived
