"""Files that the parties keep: what is wrong with a damaged one, keys and certificates as PEM."""
