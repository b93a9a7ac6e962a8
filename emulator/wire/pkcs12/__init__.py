"""What a PKCS#12 would cost to open, read from its bytes alone."""
