"""The outermost layer: composes the parties, runs scenarios with them, judges, and is the pfxlab command."""
