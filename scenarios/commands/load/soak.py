"""`pfxlab soak`: an hour of the lab's time at a high rate, to see that nothing grows."""

import json
from pathlib import Path

import click

from pfxlab.connector_sim.errors import GraphRefused
from pfxlab.device_sim.errors import EnrollmentRefused, SessionFailed
from pfxlab.scenarios import ending
from pfxlab.scenarios.commands import options
from pfxlab.scenarios.commands.common import COULD_NOT_RUN, VERDICT_FAILED, missing_for_load, print_json, stop
from pfxlab.scenarios.commands.options import Duration
from pfxlab.scenarios.ending import Interrupted


@click.command()
@click.option("--duration", default="60m", show_default=True, type=Duration("5m", "24h"), help="Duration in lab time.")
@click.option(
    "--renewals", default=2, show_default=True, type=click.IntRange(0, 100), help="Renewed certificates per second."
)
@click.option("--check-ins", default=2, show_default=True, type=click.IntRange(0, 100), help="Check-ins per second.")
@click.option("--devices", default=20, show_default=True, type=click.IntRange(1, 1000), help="Number of devices.")
@click.option("--seed", default=7, show_default=True, help="Seed of the schedule.")
@click.option(
    "--out",
    default="soak",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the report.",
)
@options.as_json("the report")
def soak(
    duration: float, renewals: int, check_ins: int, devices: int, seed: int, out: Path, as_json: bool
) -> None:  # fmt: skip
    """Run the whole lab at a high rate for an hour of lab time, and plot memory and database size.

    Exit code 1: either grows by more than 5 % after the first quarter.
    """
    try:
        from pfxlab.scenarios.load.drive import soak as soaks
        from pfxlab.scenarios.load.report import plots
    except ImportError as error:
        missing_for_load(error)
    minutes = duration / 60
    out.mkdir(parents=True, exist_ok=True)
    click.echo(
        f"Soaking a lab for {minutes:g} minutes of its time, {renewals} renewals and {check_ins} check-ins a second",
        err=True,
    )

    def progress(one: soaks.Reading) -> None:
        if not as_json:
            click.echo(
                f"minute {one.minute:3.0f}: {one.memory_mb:7.1f} MiB in RAM, {one.database_mb:6.1f} MiB on the disk",
                err=True,
            )

    try:
        report = ending.run(soaks.soak(minutes, renewals, check_ins, devices, seed, progress))
    except (GraphRefused, SessionFailed, EnrollmentRefused, OSError) as error:
        stop(COULD_NOT_RUN, f"The soak could not go on: {error}")
    except Interrupted as signalled:
        click.echo("Interrupted; a soak has no result before its end.", err=True)
        raise signalled from None
    (out / "soak.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    plots.save(plots.figure(lambda axes: plots.draw_soak(axes, report)), out, "soak")
    if as_json:
        print_json(report)
    else:
        for name, one in report["growth"].items():
            what = "memory" if name == "memory_mb" else "database"
            judged = "flat" if one["flat"] else "GROWS"
            click.echo(f"{what}: {one['level']:.1f} MiB, {100 * one['share']:+.1f} % over the soak: {judged}")
        click.echo(f"{'PASS' if report['flat'] else 'FAIL'}: {out / 'soak.svg'}, soak.png, soak.json")
        click.echo(f"Next: open {out / 'soak.svg'}")
    if not report["flat"]:
        raise SystemExit(VERDICT_FAILED)
