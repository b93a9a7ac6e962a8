"""Sizes of tests: small in `make test`, full in `make campaign`. conftest.py chooses before tests are collected."""

import os

whole = False


def examples(small: int, many: int) -> int:
    """Return how many examples Hypothesis tries."""
    return many if whole else small


def untraced() -> dict[str, str]:
    """Return the environment of programs without coverage: those of others, and ours where other tests cover them."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COV")}
