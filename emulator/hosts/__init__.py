"""Names of Microsoft's services in each of its clouds."""
