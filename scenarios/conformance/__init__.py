"""Conformance: runs a tool against right and deliberately wrong servers, and says which rules it keeps and breaks."""
