"""Where what belongs to a user, not to one lab, is kept: keys, tokens, cached key material."""

from pathlib import Path

import click


def data_folder() -> Path:
    """Return the folder below the user's own where keys and tokens are kept."""
    return Path(click.get_app_dir("pfxlab"))
