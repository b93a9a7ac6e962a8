"""`pfxlab journal` and `pfxlab explain`: what a running lab saw, and why a certificate has not arrived."""

import sys
import time
from pathlib import Path

import click

from pfxlab.scenarios.commands import options
from pfxlab.scenarios.commands.common import COULD_NOT_RUN, VERDICT_FAILED, print_json, stop
from pfxlab.scenarios.commands.lab.control_client import ControlClient, NoLab, facts_of, fetch
from pfxlab.scenarios.commands.lab.explain_view import path_of
from pfxlab.scenarios.commands.lab.journal_view import box
from pfxlab.scenarios.commands.ready_file import READY_FILE, require_ready_file
from pfxlab.scenarios.terminal import console, print_box


@click.command()
@READY_FILE
@click.option("--follow", is_flag=True, help="Keep showing new entries until Ctrl-C.")
@click.option("--refused", is_flag=True, help="Only refusals.")
@click.option("--rule", help="Only refusals for this stable reason, such as UserUnknown.")
@click.option("--path", "part", help="Only requests with this text in their path.")
@click.option("--json", "as_json", is_flag=True, help="Print entries as JSON lines and nothing else.")
def journal(
    ready_file: Path | None, follow: bool, refused: bool, rule: str | None, part: str | None, as_json: bool
) -> None:
    """Show the requests to a running lab, its answers, and the true reason of each refusal."""
    out, after = console(), 0
    wanted = {"outcome": "refused" if refused else None, "rule": rule, "path": part}
    filters = {name: value for name, value in wanted.items() if value is not None}
    try:
        facts = facts_of(require_ready_file(ready_file))
        while True:
            entries = fetch(facts, after, filters)
            for entry in entries:
                after = entry["seq"]
                if as_json:
                    print_json(entry, indent=None)
                else:
                    print_box(out, box(entry))
            if not entries and not follow:
                break
            if not entries:
                time.sleep(0.5)
    except NoLab as error:
        stop(COULD_NOT_RUN, f"The journal could not be read: {error}")
    if not as_json and not after:
        out.print("No matching entries yet. Next: point a tool at the lab.")


@click.command()
@click.option("--user", required=True, help="User principal name.")
@click.option("--device", help="Only this device, by id or name.")
@click.option("--thumbprint", help="Only this certificate.")
@READY_FILE
@options.as_json("the explanations")
def explain(
    user: str, device: str | None, thumbprint: str | None, ready_file: Path | None, as_json: bool
) -> None:  # fmt: skip
    """Explain why a user's certificates have or have not arrived, and what to do. Exit code 1: one has not."""
    wanted = {"user": user, "device": device, "thumbprint": thumbprint}
    try:
        query = {name: value for name, value in wanted.items() if value is not None}
        explanations = ControlClient(facts_of(require_ready_file(ready_file))).call("GET", "/explain", query=query)[
            "explanations"
        ]
    except NoLab as error:
        stop(COULD_NOT_RUN, f"Nothing could be explained: {error}")
    if as_json:
        print_json(explanations)
    else:
        for one in explanations:
            print_box(console(), path_of(one))
    if not all(one["arrived"] for one in explanations):
        sys.exit(VERDICT_FAILED)
