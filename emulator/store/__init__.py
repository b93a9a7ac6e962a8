"""What the cloud remembers: SQLite through sqlite-utils, one module per aggregate."""

import sys

if "numpy" not in sys.modules:
    # Where numpy is installed, sqlite-utils loads it to store numpy's numbers. None of them come here, and loading it
    # takes a fifth of a lab's start.
    sys.modules["numpy"] = None  # type: ignore[assignment]
    try:
        import sqlite_utils  # noqa: F401 - loaded without numpy
    finally:
        del sys.modules["numpy"]
