"""A tool that a person starts by hand: the lab shows the arguments, and the person reports the exit code."""

import asyncio
from collections.abc import Mapping

import click

from pfxlab.scenarios.conformance.tool import Ended


class AttachedTool:
    """Shows the arguments of each module, waits, and asks for the exit code."""

    async def __call__(self, arguments: Mapping[str, str], variables: Mapping[str, str], seconds: float) -> Ended:
        """Let the person run the tool once."""
        click.echo("\nStart the tool now with:", err=True)
        for name, value in arguments.items():
            click.echo(f"  {name:<16} {value}", err=True)
        for name in ("SSL_CERT_FILE", "HTTPS_PROXY"):
            click.echo(f"  {name:<16} {variables[name]}", err=True)
        code = await asyncio.to_thread(click.prompt, "Exit code of the tool", type=int, default=0, err=True)
        return Ended(code, "", output_seen=False)
