"""The control API over a whole lab, and bundles of a run."""
