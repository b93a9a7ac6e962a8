"""Drive a load run: prepare, start target and load generators, record."""
