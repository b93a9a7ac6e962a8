"""A whole lab: cloud, connectors and devices, with time, state and faults."""
