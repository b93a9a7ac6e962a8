"""Sends damaged requests to a running lab: `python -m tests.attack --seed 1 --duration 60m`."""
