"""Members of zip files, read up to a bound: a few kilobytes of an archive can stand for gigabytes."""

import lzma
import struct
import zipfile
import zlib
from typing import Final

UNREADABLE: Final = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, RuntimeError,
                     ValueError, OverflowError)  # fmt: skip
"""What zipfile and its decompressors raise over an archive that is damaged, encrypted, or none."""


class BadMember(ValueError):
    """A member that is missing, damaged or too large; the text names it."""


def member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Return the bytes of a member.

    Raises:
        BadMember: it is missing, damaged, or has more than `most` bytes.

    """
    if name not in archive.NameToInfo:
        raise BadMember(f"expected {name} in it, got no such file")
    # As many bytes as the archive names are decompressed, whatever more its data stand for.
    if archive.getinfo(name).file_size > most:
        raise BadMember(f"{name}: expected at most {most:,} bytes, got more")
    try:
        return archive.read(name)
    except UNREADABLE:
        raise BadMember(f"{name}: expected a whole file, got a damaged or encrypted one") from None
