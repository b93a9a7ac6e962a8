"""ASN.1 of bounded size: BER as a tree, and what it tells of a structure before a library works on it."""
