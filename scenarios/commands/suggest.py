"""Groups and choices that name what is near to a word that is not there."""

import click

from pfxlab.scenarios.nearest import near


class Group(click.Group):
    """A group of commands that says which of them is near to one that is not there."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name."""
        name = args[0]
        if not ctx.resilient_parsing and self.get_command(ctx, name) is None and not name.startswith("-"):
            hint = near(name, self.list_commands(ctx)) or f"; {ctx.command_path} --help lists them"
            raise click.UsageError(f"no such command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)


class Choice(click.Choice[str]):
    """A choice of words that says which of them is near to one that is not offered."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word."""
        if value not in self.choices:
            self.fail(
                f"expected one of {', '.join(self.choices)}, got {value!r}{near(str(value), self.choices)}", param, ctx
            )
        return super().convert(value, param, ctx)
