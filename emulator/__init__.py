"""Microsoft's cloud, as far as an imported certificate meets it: Entra ID, Graph, the Intune service."""
