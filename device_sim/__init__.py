"""Simulated devices: identity key, MDM client, certificate store, mailbox."""
