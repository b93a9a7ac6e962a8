"""Benchmarks: ratios to a baseline that the same run measures."""
