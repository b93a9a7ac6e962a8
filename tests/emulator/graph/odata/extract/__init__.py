"""Extracts names and numbers from Microsoft's published CSDL into the emulator's files of facts: run `__main__`."""
