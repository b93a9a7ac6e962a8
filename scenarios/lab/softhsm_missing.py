"""The error for a machine without an HSM, apart from softhsm.py, which needs python-pkcs11."""


class NoHsm(Exception):
    """This machine has no HSM to use; the text says what to install."""
