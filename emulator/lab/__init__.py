"""The lab's own side of the emulator: control API and journal."""
