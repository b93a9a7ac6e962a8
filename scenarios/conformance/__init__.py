"""Conformance: runs a tool against right and deliberately wrong servers, and reports the rules it breaks."""
