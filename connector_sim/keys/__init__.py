"""Key storage providers and the key formats CNG writes."""
