"""The admin centre: pages for people at /admin, rendered here, of what the cloud knows."""
