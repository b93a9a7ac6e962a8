"""The customer's server: key storage providers, the import cmdlets, the certificate connector."""

from typing import Final

VERSION: Final = "6.2510.3.2002"
"""The version that our connector reports by default."""
