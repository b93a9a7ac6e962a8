"""What can go wrong between a device and its management service."""


class SessionFailed(Exception):
    """The management server did not answer as the protocol has it."""


class EnrollmentRefused(Exception):
    """The service does not enrol this device; the text is its reason."""
