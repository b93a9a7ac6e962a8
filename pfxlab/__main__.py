"""`python -m pfxlab` is the `pfxlab` command."""

from pfxlab.scenarios.cli import main

main(prog_name="python -m pfxlab")
