"""The customer's server: key storage providers, the import cmdlets, the certificate connector."""
