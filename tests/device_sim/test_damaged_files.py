"""Files of a fleet, damaged one by one: the device or certificate is shown as such, the others go on."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.device_sim import identity
from pfxlab.device_sim.certstore import CertStore, Identity
from pfxlab.device_sim.errors import DeviceDamaged
from pfxlab.device_sim.fleet import Fleet
from pfxlab.device_sim.identity import Enrolled, Hardware, Management, MdmIdentity
from pfxlab.device_sim.keys import KeyPool
from pfxlab.scenarios.cli import main
from pfxlab.scenarios.commands.parties.device_fleet import _NO_SERVICE
from tests.conftest import self_signed

NAMES = ("ios-00000", "windows-00001")


@pytest.fixture
def fleet(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> Path:
    """Return the folder of a fleet of a phone and a PC, each with one certificate."""
    for name in NAMES:
        platform, folder = name.partition("-")[0], tmp_path / "devices" / name
        hardware = Hardware(platform, f"The {platform}", "18.1", "m", "m", "serial", "udid")
        managed = Management("https://localhost/", poll=((15, 4), (480, 0)))
        identity.save(folder, Enrolled(MdmIdentity(f"id of {name}", self_signed(rsa_key), rsa_key), hardware, managed))
        CertStore(folder / "store").install(Identity("source", self_signed(rsa_key), rsa_key))
        with (tmp_path / "fleet.jsonl").open("a") as index:
            index.write(json.dumps({"name": name, "platform": platform, "upn": f"{platform}@pfxlab.example"}) + "\n")
    return tmp_path


def show(fleet: Path, *more: str) -> Result:
    """Run `pfxlab devices show`."""
    return CliRunner().invoke(main, ["devices", "show", "--data", str(fleet), *more])


def shown(fleet: Path) -> dict[str, tuple[int | None, list[str]]]:
    """Return name → certificates and damage of each device, as the command shows them."""
    listed = json.loads(show(fleet, "--json").stdout)
    return {one["name"]: (one["certificates"], one["damaged"]) for one in listed}


def empty(path: Path) -> None:
    """Leave nothing in a file."""
    path.write_bytes(b"")


def halve(path: Path) -> None:
    """Cut a file off in the middle."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Turn eight bytes in the middle of a file into others."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 8] = bytes(byte ^ 0xFF for byte in data[middle : middle + 8])
    path.write_bytes(data)


def make_folder(path: Path) -> None:
    """Put a folder in a file's place."""
    path.unlink()
    path.mkdir()


def make_loop(path: Path) -> None:
    """Put a link to itself in a file's place: it is there and can never be read, whoever tries."""
    path.unlink()
    path.symlink_to(path.name)


DAMAGE: list[Callable[[Path], None]] = [empty, halve, flip, make_folder, make_loop]


@pytest.mark.parametrize("damage", [*DAMAGE, Path.unlink])
@pytest.mark.parametrize("file", ["device.json", "mdm-identity.pem"])
def test_damaged_device_is_shown_beside_the_others(fleet: Path, file: str, damage: Callable[[Path], None]) -> None:
    """A device whose own file is damaged is listed with the file and what to do; the other one is as it was."""
    path = fleet / "devices" / NAMES[0] / file
    damage(path)
    found = shown(fleet)
    assert found[NAMES[1]] == (1, [])
    certificates, (problem,) = found[NAMES[0]]
    assert certificates is None
    assert problem.startswith(f"{path}: expected ")
    assert f"delete {path.parent} and enrol the device again" in problem
    assert problem in show(fleet).stdout.replace("\n", "")
    alone = show(fleet, NAMES[0])
    assert (alone.exit_code, problem in alone.stderr) == (3, True)


@pytest.mark.parametrize("damage", [*DAMAGE, Path.unlink])
@pytest.mark.parametrize("suffix", [".json", ".pem"])
def test_damaged_certificate_is_shown_until_it_is_installed_again(
    fleet: Path, rsa_key: rsa.RSAPrivateKey, suffix: str, damage: Callable[[Path], None]
) -> None:
    """A certificate with a damaged file is not there for its device, which tells so; removed and installed it is well."""
    store = fleet / "devices" / NAMES[0] / "store"
    (path,) = store.glob(f"*{suffix}")
    damage(path)
    found = shown(fleet)
    assert found[NAMES[1]] == (1, [])
    certificates, (problem,) = found[NAMES[0]]
    assert (certificates, problem.startswith(f"{path}: expected ")) == (0, True)
    assert "DAMAGED" in show(fleet, NAMES[0]).stdout
    if damage in (make_folder,):
        path.rmdir()
    CertStore(store).install(Identity("source", self_signed(rsa_key), rsa_key))
    assert shown(fleet)[NAMES[0]] == (1, [])


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(("name", "file"), [(NAMES[0], "profiles.json"), (NAMES[1], "nodes.json")])
def test_damaged_record_of_installations_damages_its_device_only(
    fleet: Path, name: str, file: str, damage: Callable[[Path], None]
) -> None:
    """A phone without its list of profiles, or a PC without its nodes, is damaged; the other one is not."""
    path = fleet / "devices" / name / file
    path.write_text('{"./User/Vendor": {"Status": "0"}}' if file == "nodes.json" else "{}" + " " * 80)
    if file == "profiles.json" and damage is halve:
        path.write_text('{"a": {"uuid": "u", "display_name": "n"}}')
    damage(path)
    found = shown(fleet)
    assert [one for one, (_, problems) in found.items() if problems] == [name]
    assert str(path) in found[name][1][0]


@pytest.mark.parametrize("damage", [empty, halve, flip, Path.unlink])
def test_damaged_list_loses_no_device(fleet: Path, damage: Callable[[Path], None]) -> None:
    """Devices whose lines in the fleet's list are damaged or gone are found by their folders."""
    damage(fleet / "fleet.jsonl")
    assert {name: found[0] for name, found in shown(fleet).items()} == dict.fromkeys(NAMES, 1)


@pytest.mark.parametrize("damage", [make_folder, make_loop])
def test_unreadable_list_is_reported(fleet: Path, damage: Callable[[Path], None]) -> None:
    """A fleet's list that cannot be read ends the command with the file and what to do."""
    damage(fleet / "fleet.jsonl")
    ended = show(fleet)
    assert (ended.exit_code, str(fleet / "fleet.jsonl") in ended.stderr, "delete it" in ended.stderr) == (3, True, True)


@pytest.mark.parametrize("damage", [empty, halve, flip])
def test_damaged_key_pool_is_rewritten(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """A damaged file of shared keys is written anew: each device has its own copy of the key it was given."""
    path = tmp_path / "keys.pem"
    KeyPool(path, 1).fill()
    before = path.read_bytes()
    damage(path)
    KeyPool(path, 1).fill()
    assert len(path.read_bytes()) == pytest.approx(len(before), abs=20)
    assert KeyPool(path, 1)().public_key() is not None


def test_unwritable_file_is_reported(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    """A certificate that cannot be written fails its device's check-in in a sentence, and is not in the store."""
    store = CertStore(tmp_path)
    store.install(Identity("source", self_signed(rsa_key), rsa_key))
    (path,) = tmp_path.glob("*.pem")
    make_folder(path)
    with pytest.raises(DeviceDamaged, match="expected a file that can be written, got"):
        CertStore(tmp_path).install(Identity("source", self_signed(rsa_key), rsa_key))
    assert Fleet(tmp_path / "fleet", _NO_SERVICE).members() == []
