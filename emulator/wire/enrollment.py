"""The lab's own device enrolment: a request for an identity certificate, made with the user's token.

Stands in for MDE2 and for an Apple enrolment profile; no rule of imported certificates depends on their form.
"""

from typing import Final

ENROLL_PATH: Final = "/enrollment/v1/devices"
OMADM_PATH: Final = "/devicegatewayproxy/cimhandler.ashx"
APPLE_CHECKIN_PATH: Final = "/mdm/apple/checkin"
APPLE_COMMAND_PATH: Final = "/mdm/apple/connect"

SCHEMA: Final = "device-enroll"
"""Name of the JSON Schema of an enrolment's body."""
