"""The `pfxlab` command, also as `python -m pfxlab`."""

from pfxlab.scenarios.ending import end_on_signals


def run(prog_name: str = "pfxlab") -> None:
    """Run the command; from here on a signal ends it without a traceback, also while its modules are imported."""
    end_on_signals()
    from pfxlab.scenarios.cli import main
    from pfxlab.scenarios.last_resort import boundary

    with boundary():
        main(prog_name=prog_name)


if __name__ == "__main__":
    run("python -m pfxlab")
