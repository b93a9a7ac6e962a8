"""A load run's report and its plots."""
