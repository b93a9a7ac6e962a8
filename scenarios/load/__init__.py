"""Benchmarks and load plans; figures are ratios to a baseline measured in the same run."""
