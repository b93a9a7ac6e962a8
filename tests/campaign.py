"""Sizes of tests: small in `make test`, full in `make campaign`. conftest.py chooses before tests are collected."""

whole = False


def examples(small: int, many: int) -> int:
    """Return how many examples Hypothesis tries."""
    return many if whole else small
