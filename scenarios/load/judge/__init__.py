"""Judge a load run: percentiles, saturation, thresholds."""
