"""How long tests are: small in `make test`, whole in `make campaign`. conftest.py says which, before tests are read."""

import os

whole = False


def examples(small: int, many: int) -> int:
    """Return how many examples Hypothesis tries."""
    return many if whole else small


def untraced() -> dict[str, str]:
    """Return the environment of programs whose lines nobody counts: others', and ours where other tests count them."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COV")}
