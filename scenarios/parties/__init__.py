"""The lab's own connector and devices: with planned faults, in fleets, and the hardware they play."""
