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
