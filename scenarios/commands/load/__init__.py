"""Commands that measure: bench, load, plan, soak."""
