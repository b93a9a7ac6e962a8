"""The manifest of `pfxlab pfx import`: a CSV file with a row for each PFX."""

from typing import Final

MANIFEST_COLUMNS: Final = ("pfx", "password_file", "upn", "purpose", "padding")
"""The last two may be missing."""
