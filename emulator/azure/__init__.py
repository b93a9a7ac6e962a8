"""Azure beside Entra ID: as little of it as tools ask for on their way to Graph."""
