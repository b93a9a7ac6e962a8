"""Numbers with the thing they count, in the right form."""


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return `1 record`, `2 records`, `1,000 records`; `many` is what several are called, if not with an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
