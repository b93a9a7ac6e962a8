"""What happened in the lab: journal, exchanges on the wire, conversations with devices."""
