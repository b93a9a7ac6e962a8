"""How many connectors a tenant needs: the model, measured rates, a simulation over the real queue."""
