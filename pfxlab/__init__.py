"""A local lab for Intune's imported PKCS (PFX) certificates: Graph, Intune, connector and devices on one machine.

    import pfxlab

    with pfxlab.lab() as lab:
        mail = lab.certificate()
        ...

`lab` returns what the pytest fixture of the same name gives: docs/pytest.md has its verbs.
"""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pfxlab.scenarios.testing import LabSession

PARTIES: Final = ("emulator", "connector_sim", "device_sim", "scenarios")
"""The packages below this one. In a checkout they are folders beside it, in a wheel folders within it."""

_CHECKOUT: Final = Path(__file__).parent.parent


class _CheckoutFinder:
    """Finds the four packages where a checkout has them, and nothing else that lies there (its tests, for one)."""

    @staticmethod
    def find_spec(name: str, _: Sequence[str] | None = None, __: ModuleType | None = None) -> ModuleSpec | None:
        """Return where a package of ours is, None for every other name."""
        package, _, party = name.rpartition(".")
        if package != __name__ or party not in PARTIES:
            return None
        folder = _CHECKOUT / party
        return importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


if (_CHECKOUT / "pyproject.toml").is_file() and (_CHECKOUT / "emulator").is_dir():
    # Before the finder of an editable installation, which may belong to another checkout.
    sys.meta_path.insert(0, _CheckoutFinder)


def lab(seed: int = 7) -> "LabSession":
    """Return a whole lab for a `with` block: Graph, sign-in, Intune and a connector; its time stands still until told.

    Ids and chances derive from the seed. What the block is given is a `TestLab`: the verbs of docs/pytest.md.
    """
    from pfxlab.scenarios.testing import LabSession

    return LabSession(seed)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("pfxlab")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["PARTIES", "__version__", "lab"]
