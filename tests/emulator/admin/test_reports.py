"""The admin centre's pages of reports, over a folder with whatever lies in it."""

import json
from dataclasses import replace
from pathlib import Path

from pfxlab.emulator.admin.page import Look
from pfxlab.emulator.admin.pages import reports
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.config import Config
from pfxlab.emulator.lab.seed import seed


def test_odd_files_among_the_reports_disturb_nothing(tmp_path: Path) -> None:
    """Files that no command of ours wrote are not listed, damaged ones as such; the others name plan and verdict."""
    folder = tmp_path / "reports"
    folder.mkdir()
    for name, text in (("a.json", "{"), ("b.json", '{"verdict": "PASS", "rules": null}'), ("c.json", "[" * 5000),
                       ("d.json", '{"verdict": "PASS", "rules": [1]}'), ("good.json", '{"plan": "import", "verdict": "PASS", "rules": []}')):  # fmt: skip
        (folder / name).write_text(text)
    cloud = Cloud(Config(reports=folder), LabClock())
    seed(cloud)
    look = Look(cloud, cloud.directory.tenants()[0]["id"], "a@b.example", "", "/admin/reports")
    table = reports.show_all(look).table
    assert table is not None
    assert {row["name"]: row["verdict"] for row in table.rows()} == {"a": "damaged", "c": "damaged", "good": "PASS"}
    (problem,) = [str(row["summary"]) for row in table.rows() if row["name"] == "a"]
    assert problem.startswith(f"{folder}/a.json: expected a report")
    assert reports.show_one(replace(look, place={"name": "a"})).values["report"]["summary"] == problem
    for place in ({"name": "..", "file": "report.html"}, {"name": "good", "file": "../a.json"}):
        assert reports.file_of(replace(look, place=place)) is None
    cloud.close()


def test_reports_are_not_read_through_links(tmp_path: Path) -> None:
    """A link among the reports, or a folder that is one, shows nothing of the file it leads to."""
    folder, elsewhere = tmp_path / "reports", tmp_path / "elsewhere"
    (folder / "real").mkdir(parents=True)
    elsewhere.mkdir()
    report = json.dumps({"verdict": "PASS", "rules": [], "plan": "basic"})
    for place in (elsewhere / "report.json", folder / "real" / "report.json"):
        place.write_text(report)
    (elsewhere / "report.html").write_text("private")
    (folder / "linked").symlink_to(elsewhere)
    (folder / "file.json").symlink_to(elsewhere / "report.json")
    (folder / "real" / "report.html").symlink_to(elsewhere / "report.html")
    cloud = Cloud(Config(reports=folder), LabClock())
    seed(cloud)
    look = Look(cloud, cloud.directory.tenants()[0]["id"], "a@b.example", "", "/admin/reports")
    table = reports.show_all(look).table
    assert table is not None
    assert [row["name"] for row in table.rows()] == ["real"]
    for name in ("linked", "real"):
        assert reports.file_of(replace(look, place={"name": name, "file": "report.html"})) is None
    cloud.close()
