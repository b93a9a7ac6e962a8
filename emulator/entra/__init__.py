"""Entra ID: sign-in documents, token grants, signing keys."""
