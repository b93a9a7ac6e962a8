"""The state of a whole lab: taken, kept in a file, restored."""
