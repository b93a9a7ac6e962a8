"""`python -m tests.attack`: exit code 0 when nothing was found, 1 otherwise."""

import sys

import click

from pfxlab.emulator.lab.moments import read_duration
from tests.attack.run import attack


@click.command()
@click.option("--seed", default=1, show_default=True, help="Seed of what is sent.")
@click.option("--duration", default="1m", show_default=True, help="How long, such as 60m.")
def main(seed: int, duration: str) -> None:
    """Send damaged requests of every protocol to labs on this machine, and list what they should not have done."""
    found = attack(seed, read_duration(duration).total_seconds())
    click.echo(
        f"seed {seed}: {found.sent} requests, {found.files} files; statuses {dict(sorted(found.statuses.items()))}"
    )
    click.echo(f"kinds of damage: {dict(sorted(found.kinds.items()))}")
    click.echo(f"slowest answer: {found.slowest[0]:.1f} s, to {found.slowest[1][:200]}")
    for text, times in found.failures.most_common():
        click.echo(f"{times} times: {text}\n    first: {found.first[text]}")
    click.echo(f"{len(found.failures)} kinds of failure")
    sys.exit(bool(found.failures))


if __name__ == "__main__":
    main()
