"""Scenarios: what happens in a lab, step by step, and what must be true at the end."""
