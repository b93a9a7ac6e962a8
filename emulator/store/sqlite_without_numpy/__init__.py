"""sqlite-utils, loaded without numpy.

Where numpy is installed, sqlite-utils loads it to store numpy's numbers. None of them come here, and loading it takes a
fifth of a lab's start.
"""

import sys

if "numpy" in sys.modules:
    from sqlite_utils import Database, Migrations
else:
    sys.modules["numpy"] = None  # type: ignore[assignment]
    try:
        from sqlite_utils import Database, Migrations
    finally:
        del sys.modules["numpy"]

__all__ = ["Database", "Migrations"]
