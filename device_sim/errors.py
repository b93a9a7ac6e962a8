"""What can go wrong between a device and its management service, and with the files it keeps."""

from pfxlab.emulator.wire.files.damaged import Damaged


class SessionFailed(Exception):
    """The management server did not answer as the protocol has it."""


class DeviceDamaged(Damaged, SessionFailed):
    """A file of one device is damaged: it does not check in, all others do."""


class EnrollmentRefused(Exception):
    """The service does not enrol this device; the text is its reason."""
