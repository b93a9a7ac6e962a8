"""Costly keys that labs share."""

from pathlib import Path

import pytest

from pfxlab.scenarios.lab import key_cache
from pfxlab.scenarios.lab.lab import Lab


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.pem")}


async def test_keys_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second lab finds the keys of the first, and a lab that starts with them makes none of its own."""
    monkeypatch.setenv(key_cache.VARIABLE, str(tmp_path / "kept"))
    key_cache.lay_out(tmp_path / "one")
    key_cache.lay_out(tmp_path / "two")
    laid = _contents(tmp_path / "one")
    assert laid == _contents(tmp_path / "two")
    assert len(laid) >= 6
    async with Lab(tmp_path / "two") as lab:
        await lab.user_token(lab.operator.credentials.user_upn, lab.operator.credentials.user_password)
    after = _contents(tmp_path / "two")
    made = {name for name, data in after.items() if laid.get(name) != data}
    assert {Path(name).name for name in made} == {"ca.pem", "connector-public-key.pem"}


@pytest.mark.parametrize(
    "content", [b"", b"rubbish", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_damaged_keys_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """A kept file that holds no keys costs the time to make them, and stops no command."""
    monkeypatch.setenv(key_cache.VARIABLE, str(tmp_path))
    (tmp_path / "run-keys.pem").write_bytes(content)
    with key_cache.kept_keys(2) as keys:
        assert keys().key_size == 2048


def test_keys_of_one_command_are_there_for_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one command had to make the next one gets, in the same order."""
    monkeypatch.setenv(key_cache.VARIABLE, str(tmp_path))
    with key_cache.kept_keys(3) as keys:
        made = [keys().public_key().public_numbers() for _ in range(2)]
    with key_cache.kept_keys(3) as keys:
        assert [keys().public_key().public_numbers() for _ in range(2)] == made
    assert (tmp_path / "run-keys.pem").stat().st_mode & 0o777 == 0o600
