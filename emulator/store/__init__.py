"""What the cloud remembers: SQLite through sqlite-utils, one module per aggregate."""
