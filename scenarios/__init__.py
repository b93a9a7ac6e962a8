"""The outermost layer: composes the parties, tells stories with them, judges, and is the pfxlab command."""
