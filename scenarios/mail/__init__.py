"""S/MIME for tests: the test CA, mails by OpenSSL, proofs, secret canaries."""
