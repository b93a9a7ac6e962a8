"""`pfxlab demo`: certificates through every party, proven at the end."""

from pathlib import Path

import click

from pfxlab.scenarios.commands import options, suggest
from pfxlab.scenarios.commands.common import FILE


@click.command()
@click.option("--pfx", "pfx_file", type=FILE, help="Your own PFX instead of the test CA's certificates.")
@click.option("--password-file", type=FILE, help="File whose first line is the PFX password.")
@click.option("--user", help="User principal name to import for; the lab creates the user.")
@click.option("--allow-expired", is_flag=True, help="Import an expired certificate, for example to read old mail.")
@click.option(
    "--break",
    "sabotage",
    type=suggest.Choice(["missing-key", "wrong-key"]),
    help="Take away or replace the connector's key, to see it fail.",
)
@click.option("--seed", default=7, show_default=True, help="Seed of generated ids.")
@options.as_json()
def demo(
    pfx_file: Path | None,
    password_file: Path | None,
    user: str | None,
    allow_expired: bool,
    sabotage: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Send imported certificates through every party and prove that each device can use them."""
    from pfxlab.scenarios.commands.lab import demo_command as work

    work.demo(pfx_file, password_file, user, allow_expired, sabotage, seed, as_json)
