"""Said where an HSM is asked for and the machine has none: apart from hsm.py, which needs python-pkcs11."""


class NoHsm(Exception):
    """This machine has no HSM to use; the text says what to install."""
