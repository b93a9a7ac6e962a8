"""Groups and choices that suggest near words for an unknown one."""

import click

from pfxlab.scenarios.nearest import near


class Group(click.Group):
    """A group that suggests near commands for an unknown one and lists each with its whole first sentence."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands; click's own cuts each summary at 45 characters."""
        listed = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, one.get_short_help_str(limit=500)) for name, one in listed if one is not None and not one.hidden]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

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
    """A choice of words that suggests near ones for an unknown one."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word."""
        if value not in self.choices:
            self.fail(
                f"expected one of {', '.join(self.choices)}, got {value!r}{near(str(value), self.choices)}", param, ctx
            )
        return super().convert(value, param, ctx)
