"""Files that other processes read while they are rewritten."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pfxlab.emulator.pki import write_private, write_public


@pytest.mark.parametrize(("write", "mode"), [(write_private, 0o600), (write_public, 0o644)])
def test_a_reader_never_sees_half_a_file(tmp_path: Path, write: Callable[[Path, bytes], None], mode: int) -> None:
    """A reader with the file open still sees the complete old one; the next to open it gets the complete new one."""
    path = tmp_path / "ca.pem"
    write(path, b"old" * 1000)
    with path.open("rb") as reader:
        begun = reader.read(3)
        write(path, b"new")
        assert begun + reader.read() == b"old" * 1000
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == mode
    assert list(tmp_path.iterdir()) == [path]
