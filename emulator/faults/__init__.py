"""Faults: their kinds, the plan of a lab, what applying one needs."""
