"""The control API over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openapi_spec_validator
import pytest

from pfxlab.scenarios.control.open_lab import open_lab
from pfxlab.scenarios.lab.lab import Lab
from tests.conftest import KEYS, new_lab
from tests.emulator.graph.client import PFX, Raw, admin, record

SWITCHES = "/lab/v1/switches"


async def test_switch_applies_from_the_next_request(lab: Lab) -> None:
    """A switch set through the control API affects Graph at once, and all others keep their values."""
    control, graph = Raw(lab, lab.emulator.control_token), await admin(lab)
    before = (await control("GET", SWITCHES)).json
    assert before["duplicate_post"] == "reject400"
    await graph("POST", PFX, record(lab))
    assert (await graph("POST", PFX, record(lab))).status == 400
    changed = (await control("PATCH", SWITCHES, {"duplicate_post": "conflict409"})).json
    assert changed == {**before, "duplicate_post": "conflict409"}
    assert (await graph("POST", PFX, record(lab))).status == 409


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cheese": 1}, "got cheese"),
        ({"page_size": "x"}, "expected int from 1"),
        ({"page_size": 0}, "expected int from 1"),
        ({"page_size": 10**30}, "expected int"),
        ([], "expected a JSON object, got list"),
    ],
)
async def test_bad_switch_changes_nothing(lab: Lab, changes: Any, said: str) -> None:
    """An unknown switch, a wrong value or another body is refused with an explanation, and nothing is set."""
    control = Raw(lab, lab.emulator.control_token)
    before = (await control("GET", SWITCHES)).json
    reply = await control("PATCH", SWITCHES, changes)
    assert (reply.status, reply.code) == (400, "BadSwitch")
    assert said in reply.message
    assert (await control("GET", SWITCHES)).json == before


async def test_control_needs_its_token(lab: Lab) -> None:
    """Reading or setting switches is refused without a token and with a Graph token."""
    for client in (Raw(lab, None), await admin(lab)):
        assert (await client("GET", SWITCHES)).status == 401
        assert (await client("PATCH", SWITCHES, {"page_size": 1})).status == 401


CLOCK, FAULTS, JOURNAL = "/lab/v1/clock", "/lab/v1/faults", "/lab/v1/journal"
USER = "user@pfxlab.example"
PREPARED: list[dict[str, Any]] = [
    {"connector": "main"},
    {"device": {"name": "phone", "platform": "ios", "user": USER}},
    {"profile": {"name": "phones", "platform": "ios", "purpose": "smimeEncryption"}},
    {"certificate": {"name": "mail", "user": USER}},
    {"import": "mail"},
]


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Raw]:
    """Return the control API of a whole lab."""
    lab = new_lab(tmp_path / "lab")
    lab.new_key = KEYS
    async with open_lab(lab) as world:
        yield Raw(world.lab, lab.emulator.control_token)


async def test_clock_is_shown_and_moved(control: Raw) -> None:
    """The clock is frozen, set to a moment and resumed from there; each response has its time."""
    assert (await control("GET", CLOCK)).json["frozen"] is False
    frozen = (await control("POST", CLOCK, {"freeze": True})).json
    assert frozen["frozen"] is True
    assert (await control("GET", CLOCK)).json["time"] == frozen["time"]
    put = (await control("POST", CLOCK, {"set": "2027-01-01T00:00:00+01:00"})).json
    assert (put["time"], put["frozen"]) == ("2026-12-31T23:00:00+00:00", True)
    running = (await control("POST", CLOCK, {"resume": True})).json
    assert (running["time"][:16], running["frozen"]) == ("2026-12-31T23:00", False)


async def test_advancing_carries_out_everything_in_order(control: Raw) -> None:
    """When a day passes the phone checks in by its schedule and has the certificate at the end."""
    done = (await control("POST", "/lab/v1/seed", {"steps": PREPARED})).json["done"]
    assert done[-1] == "mail imported"
    told = (await control("POST", CLOCK, {"advance": "P1D"})).json
    times = [one["time"] for one in told["checkIns"]]
    assert (len(times), times) == (6, sorted(times))
    assert {one["device"] for one in told["checkIns"]} == {"phone"}
    (explained,) = (await control("GET", f"/lab/v1/explain?user={USER}")).json["explanations"]
    assert explained["arrived"] is True
    expected = [{"expect": {"device": "phone", "holds": "mail", "opens": "mail"}}]
    assert (await control("POST", "/lab/v1/seed", {"steps": expected})).status == 200


async def test_settle_does_not_move_the_clock(control: Raw) -> None:
    """Settling carries out everything that is due without moving the clock."""
    await control("POST", CLOCK, {"freeze": True})
    before = (await control("GET", CLOCK)).json["time"]
    await control("POST", "/lab/v1/seed", {"steps": PREPARED})
    assert (await control("POST", "/lab/v1/settle")).json["checkIns"] == 2
    assert (await control("GET", CLOCK)).json["time"] == before
    assert (await control("GET", f"/lab/v1/explain?user={USER}")).json["explanations"][0]["arrived"] is True


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "expected one of freeze, resume, set, advance, got nothing"),
        ({"advance": "1d", "freeze": True}, "expected one of"),
        ({"advance": "yesterday"}, "expected a duration such as 1d12h"),
        ({"advance": "9999999999w"}, "at most 30 years"),
        ({"advance": -1}, "expected a duration"),
        ({"set": "2026-03-01T08:00:00"}, "with its time zone"),
        ({"set": "1969-07-20T20:17:00Z"}, "from 2000 to 2099"),
        ({"set": "2026-02-30T00:00:00Z"}, "expected a moment such as"),
        ({"freeze": "noon"}, "expected a moment such as"),
        ({"freeze": True, "expireTokens": True}, "expected expireTokens beside advance, got it beside freeze"),
        ({"expireTokens": True}, "expected one of freeze, resume, set, advance, got nothing"),
        ({"advance": "1d", "expireTokens": "yes"}, "expected expireTokens to be true or false"),
    ],
)
async def test_impossible_clock_changes_nothing(lab: Lab, body: Any, said: str) -> None:
    """An invalid time is refused with an explanation, and the clock runs on unchanged."""
    control = Raw(lab, lab.emulator.control_token)
    before = lab.clock.now()
    reply = await control("POST", CLOCK, body)
    assert (reply.status, reply.code) == (400, "BadClock")
    assert said in reply.message
    assert not lab.clock.frozen
    assert (lab.clock.now() - before).total_seconds() < 60


async def test_clock_leaves_no_century(lab: Lab) -> None:
    """Advancing beyond the years the lab can stand in is refused, and the clock stays."""
    control = Raw(lab, lab.emulator.control_token)
    await control("POST", CLOCK, {"freeze": "2099-12-31T00:00:00Z"})
    reply = await control("POST", CLOCK, {"advance": "2d"})
    assert (reply.status, "from 2000 to 2099" in reply.message) == (400, True)
    assert (await control("GET", CLOCK)).json["time"] == "2099-12-31T00:00:00+00:00"


async def test_faults_are_planned_listed_and_taken_back(lab: Lab) -> None:
    """A planned fault shows how often it matched and struck, and is gone once removed."""
    control, graph = Raw(lab, lab.emulator.control_token), await admin(lab)
    made = (await control("POST", FAULTS, {"kind": "status", "status": 418 + 100, "times": "always"})).json
    assert (made["id"], made["struck"]) == ("fault-1", 0)
    assert (await graph("GET", PFX)).status == 518
    assert (await control("GET", f"{FAULTS}/fault-1")).json["struck"] == 1
    assert (await control("DELETE", f"{FAULTS}/fault-1")).json["struck"] == 1
    assert (await graph("GET", PFX)).status == 200
    gone = await control("GET", f"{FAULTS}/fault-1")
    assert (gone.status, gone.code) == (404, "NoSuchFault")
    bad = await control("POST", FAULTS, {"kind": "earthquake"})
    assert (bad.status, bad.code) == (400, "BadFault")
    assert (await control("GET", FAULTS)).json == {"faults": []}


async def test_snapshot_brings_everything_back(control: Raw) -> None:
    """A restore brings back devices, records, clock, switches and faults of the snapshot, and the lab works on."""
    await control("POST", CLOCK, {"freeze": True})
    await control("POST", "/lab/v1/seed", {"steps": PREPARED})
    await control("POST", "/lab/v1/settle")
    await control("POST", FAULTS, {"kind": "reset", "route": "/nowhere"})
    assert (await control("POST", "/lab/v1/snapshots", {"name": "one"})).json == {"name": "one"}
    before = (await control("GET", CLOCK)).json
    steps = [{"delete": "mail"}, {"pass": "1d"}, {"expect": {"device": "phone", "holds": []}}]
    assert (await control("POST", "/lab/v1/seed", {"steps": steps})).status == 200
    await control("DELETE", FAULTS)
    await control("PATCH", SWITCHES, {"page_size": 3})
    assert (await control("GET", "/lab/v1/snapshots")).json == {"snapshots": ["one"]}
    assert (await control("POST", "/lab/v1/snapshots/one/restore")).json == before
    assert (await control("GET", SWITCHES)).json["page_size"] == 1000
    assert len((await control("GET", FAULTS)).json["faults"]) == 1
    steps = [
        {"expect": {"device": "phone", "holds": "mail", "opens": "mail"}},
        {"certificate": {"name": "more", "user": USER}},
        {"import": "more"},
        {"pass": "1d"},
        {"expect": {"device": "phone", "holds": ["mail", "more"]}},
    ]
    done = await control("POST", "/lab/v1/seed", {"steps": steps})
    assert done.status == 200, done.text


async def test_reset_restores_the_baseline(control: Raw) -> None:
    """After a reset nothing is left of earlier changes and the same ids are used again; it takes milliseconds."""
    ids = []
    for _ in range(2):
        await control("POST", "/lab/v1/seed", {"steps": PREPARED})
        entries = (await control("GET", f"{JOURNAL}?event=connector%20enrolled")).json["entries"]
        ids.append([entry["fields"]["connector"] for entry in entries])
        told = (await control("POST", "/lab/v1/reset")).json
        assert told["milliseconds"] < 2000
    assert ids[0] == ids[1]
    assert (await control("GET", f"{JOURNAL}/count?path=userPfxCertificates")).json == {"count": 0}
    (nobody,) = (await control("GET", f"/lab/v1/explain?user={USER}")).json["explanations"]
    assert nobody["broken"]["code"] == "NothingImported"


@pytest.mark.parametrize("damage", ["cut", "changed", "foreign"])
async def test_damaged_snapshot_changes_nothing(tmp_path: Path, damage: str) -> None:
    """A snapshot's file that was cut, changed or is another file is refused, and the lab is as it was."""
    lab = new_lab(tmp_path / "lab")
    async with open_lab(lab):
        control = Raw(lab, lab.emulator.control_token)
        await control("POST", "/lab/v1/snapshots", {"name": "one"})
        path = lab.folder / "snapshots" / "one.snapshot"
        assert path.stat().st_mode & 0o777 == 0o600
        data = path.read_bytes()
        changed = data[:300] + bytes([data[300] ^ 1]) + data[301:]
        path.write_bytes({"cut": data[:-200], "changed": changed, "foreign": b"no archive"}[damage])
        await control("POST", "/lab/v1/seed", {"steps": [{"user": "late@pfxlab.example"}]})
        reply = await control("POST", "/lab/v1/snapshots/one/restore")
        assert (reply.status, reply.code) == (409, "BadSnapshot")
        assert "one.snapshot: expected" in reply.message
        assert lab.cloud.directory.user(lab.operator.credentials.tenant_id, "late@pfxlab.example")


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a/b", ".hidden", "x" * 65, 7])
async def test_snapshot_names(lab: Lab, name: Any) -> None:
    """A snapshot's name consists of letters and digits, so that no name leads to another folder."""
    reply = await Raw(lab, lab.emulator.control_token)("POST", "/lab/v1/snapshots", {"name": name})
    assert (reply.status, reply.code) == (400, "BadSnapshot")


async def test_unknown_snapshot(control: Raw) -> None:
    """Restoring an unknown snapshot is refused with the names of the existing ones, and what to do."""
    reply = await control("POST", "/lab/v1/snapshots/two/restore")
    none = "there are none yet: take one first (verb snapshot)"
    assert (reply.status, reply.message) == (409, f"expected the name of a snapshot, got 'two'; {none}")
    for name in ("later", "early"):
        await control("POST", "/lab/v1/snapshots", {"name": name})
    reply = await control("POST", "/lab/v1/snapshots/two/restore")
    instead = "restore one of these, or take it first (verb snapshot)"
    assert (reply.status, reply.message) == (
        409,
        f"expected the name of a snapshot (early, later), got 'two'; {instead}",
    )


async def test_journal_is_counted_and_waited_for(control: Raw) -> None:
    """Entries are counted by conditions; a wait ends as soon as enough of them are there."""
    waiting = asyncio.create_task(control("GET", f"{JOURNAL}/wait?path=users&method=GET&count=2&seconds=60"))
    graph = await admin(control.lab)
    for _ in range(2):
        await graph("GET", "/v1.0/users")
    told = (await asyncio.wait_for(waiting, 50)).json
    assert (told["met"], len(told["entries"])) == (True, 2)
    assert (await control("GET", f"{JOURNAL}/count?path=USERS")).json == {"count": 2}
    assert (await control("GET", f"{JOURNAL}/count?path=users&method=POST")).json == {"count": 0}


async def test_wait_that_times_out_shows_near_misses(control: Raw) -> None:
    """A wait that times out says so and shows the nearest entries with their differences."""
    graph = await admin(control.lab)
    await graph("GET", "/v1.0/users")
    told = (await control("GET", f"{JOURNAL}/wait?path=/v1.0/users&method=POST&seconds=0")).json
    assert (told["met"], told["entries"]) == (False, [])
    nearest = told["nearMisses"][0]
    assert nearest["differs"] == {"method": {"expected": "POST", "got": "GET"}}
    assert nearest["entry"]["fields"]["path"] == "/v1.0/users"
    told = (await control("GET", f"{JOURNAL}/near-misses?event=token%20isued")).json
    assert told["nearMisses"][0]["entry"]["event"] == "token issued"


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("x", "expected a list of steps"),
        ([{"jump": "1d"}], "step 1, jump: expected one of connector, user, "),
        ([{"user": USER}, {"pass": 5}], "step 2, pass"),
        ([{"user": USER, "pass": "1d"}], "step 1"),
        ([{"import": "nothing"}], "expected a certificate of this world (none), got 'nothing'"),
    ],
)
async def test_steps_that_cannot_be(control: Raw, steps: Any, said: str) -> None:
    """Steps are checked before the first is carried out; an error has the step's number."""
    reply = await control("POST", "/lab/v1/seed", {"steps": steps})
    assert reply.status == 400
    assert said in reply.message


async def test_openapi_describes_the_served_operations(lab: Lab) -> None:
    """The OpenAPI document is valid, and each of its operations is served and requires the token."""
    control, nobody = Raw(lab, lab.emulator.control_token), Raw(lab, None)
    document = (await nobody("GET", "/lab/v1/openapi.json")).json
    openapi_spec_validator.validate(document)
    for path, operations in document["paths"].items():
        place = "/lab/v1" + path.replace("{id}", "x").replace("{name}", "x")
        for method, operation in operations.items():
            open_to_all = operation.get("security") == []
            assert ((await nobody(method.upper(), place)).status == 200) is open_to_all
            assert (await control(method.upper(), place)).status != 405


async def test_cloud_alone_has_no_devices_to_seed(lab: Lab) -> None:
    """A cloud without devices and connectors changes its clock and state, and refuses what needs them."""
    control = Raw(lab, lab.emulator.control_token)
    reply = await control("POST", "/lab/v1/seed", {"steps": [{"user": USER}]})
    assert (reply.status, reply.code) == (409, "CannotDo")
    assert (await control("POST", CLOCK, {"advance": "1h"})).json["checkIns"] == []
    assert (await control("POST", "/lab/v1/settle")).json["checkIns"] == 0
    await control("POST", "/lab/v1/snapshots", {"name": "here"})
    graph = await admin(lab)
    await graph("POST", PFX, record(lab))
    await control("POST", "/lab/v1/snapshots/here/restore")
    assert (await control("GET", "/lab/v1/snapshots")).json == {"snapshots": ["here"]}
    assert (await (await admin(lab))("GET", PFX)).json["value"] == []
    await control("POST", "/lab/v1/reset")
    assert (await control("GET", CLOCK)).json["frozen"] is False
    assert (await control("GET", "/lab/v1/bundle")).code == "CannotDo"


async def test_restore_clears_state_of_components(control: Raw) -> None:
    """Users, admin centre sessions and sessions of PCs from after a snapshot are gone after its restore."""
    await control("POST", "/lab/v1/snapshots", {"name": "early"})
    graph = await admin(control.lab)
    steps: list[dict[str, Any]] = [
        {"connector": "main"},
        {"user": "ghost@pfxlab.example"},
        {"device": {"name": "pc", "platform": "windows", "user": USER}},
        {"check_in": "pc"},
    ]
    await control("POST", "/lab/v1/seed", {"steps": steps})
    assert (await graph("GET", "/beta/users/ghost@pfxlab.example")).status == 200
    assert (await control("POST", "/lab/v1/snapshots/early/restore")).status == 200
    assert (await graph("GET", "/beta/users/ghost@pfxlab.example")).status == 404
    steps = [
        {"connector": "main"},
        {"device": {"name": "pc", "platform": "windows", "user": USER}},
        {"certificate": {"name": "mail", "user": USER}},
        {"profile": {"name": "pcs", "platform": "windows", "purpose": "smimeEncryption"}},
        {"import": "mail"},
        {"check_in": "pc"},
        {"settle": None},
        {"expect": {"device": "pc", "holds": "mail"}},
    ]
    done = await control("POST", "/lab/v1/seed", {"steps": steps})
    assert done.status == 200, done.text


async def test_connectors_come_back_as_they_were(control: Raw) -> None:
    """After a restore a connector has its own keys and batch again, and the journal has no entry of its stop."""
    steps = [{"connector": {"name": "second", "batch": 3, "own_keys": True}}]
    await control("POST", "/lab/v1/seed", {"steps": steps})
    await control("POST", "/lab/v1/snapshots", {"name": "two"})
    before = (await control("GET", f"{JOURNAL}/count")).json
    await control("POST", "/lab/v1/seed", {"steps": [{"key": {"name": "K2", "action": "add"}}]})
    for _ in range(2):
        assert (await control("POST", "/lab/v1/snapshots/two/restore")).status == 200
    (second,) = control.lab.connectors()
    assert (second.name, second.batch, second.own_keys) == ("second", 3, True)
    events = (await control("GET", f"{JOURNAL}?event=connector%20stopped")).json["entries"]
    assert events == []
    assert (await control("GET", f"{JOURNAL}/count")).json["count"] - before["count"] <= 1
    done = await control("POST", "/lab/v1/seed", {"steps": [{"key": {"name": "K2", "action": "add"}}]})
    assert done.status == 200, done.text


async def test_one_change_at_a_time(control: Raw) -> None:
    """Two requests to let time pass run one after the other, and the clock never goes backwards."""
    await control("POST", CLOCK, {"freeze": "2026-03-02T08:00:00Z"})
    await control("POST", "/lab/v1/seed", {"steps": [{"device": {"name": "pc", "platform": "windows", "user": USER}}]})
    told = await asyncio.gather(*(control("POST", CLOCK, {"advance": "2d"}) for _ in range(3)))
    times = [one["time"] for reply in told for one in reply.json["checkIns"]]
    assert sorted(times) == sorted(set(times))
    assert (await control("GET", CLOCK)).json["time"] == "2026-03-08T08:00:00+00:00"


async def test_settle_ends_where_a_connector_does_not_get_on(control: Raw) -> None:
    """With a frozen clock and an offline connector, settling ends in seconds with what is left; later it completes."""
    await control("POST", CLOCK, {"freeze": True})
    await control("POST", FAULTS, {"kind": "offline", "times": "always"})
    await control("POST", "/lab/v1/seed", {"steps": PREPARED})
    told = (await asyncio.wait_for(control("POST", "/lab/v1/settle"), 30)).json
    assert told["left"] == 1
    await control("DELETE", FAULTS)
    told = (await asyncio.wait_for(control("POST", "/lab/v1/settle"), 30)).json
    assert told["left"] == 0


@pytest.mark.parametrize(
    ("method", "path", "text"),
    [
        ("POST", CLOCK, '{"advance": "1000000000w"}'),
        ("POST", CLOCK, '{"set": "0001-01-01T00:00:00+01:00"}'),
        ("POST", CLOCK, '{"resume": false}'),
        ("POST", FAULTS, '{"kind": "status", "wait": NaN}'),
        ("POST", "/lab/v1/snapshots", '{"name": "a𝒳𝒳"}'),
        ("POST", "/lab/v1/seed", '{"steps": [{"pass": {"time": "1d", "check_in_every": "0d"}}]}'),
        ("POST", "/lab/v1/seed", '{"steps": [{"pass": "9999999999w"}]}'),
        ("POST", "/lab/v1/seed", '{"steps": [{"profile": {"name": "p", "platform": "ios", "purpose": "vpn",'
                                 ' "settings": {"name": "x", "platform": 1}}}]}'),
        ("PATCH", SWITCHES, "[" * 5000),
        ("PATCH", SWITCHES, '{"connector_lease_seconds": Infinity}'),
    ],
)  # fmt: skip
async def test_strange_input_gets_a_sentence(control: Raw, method: str, path: str, text: str) -> None:
    """Invalid requests are refused in a sentence, with 409 where only Graph could refuse them, and the lab runs on."""
    reply = await control(method, path, data=text.encode())
    assert (reply.status, bool(reply.message)) == (409 if "vpn" in text else 400, True)
    assert (await control("GET", "/lab/v1/health")).status == 200


async def test_ready_file_survives_a_reset(control: Raw) -> None:
    """A ready file in the lab's folder is not part of a snapshot."""
    ready_file = control.lab.folder / "operator" / "ready.json"
    ready_file.write_text("{}")
    assert (await control("POST", "/lab/v1/reset")).status == 200
    assert ready_file.exists()
