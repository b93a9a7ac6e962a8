"""Draws passwords and secrets that can stand anywhere: in files, forms, URLs, and as an argument of a command."""

import secrets


def secret_word(size: int) -> str:
    """Return a word of so many random bytes, base64url; it begins with no dash, which commands take for an option."""
    while True:
        word = secrets.token_urlsafe(size)
        if not word.startswith("-"):
            return word
