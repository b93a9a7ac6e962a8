"""The commands of `pfxlab` that belong to one party, one module each."""
