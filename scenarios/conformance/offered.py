"""What the command's help needs before the conformance code is loaded: names of plans, rights of a tool."""

from typing import Final

PLAN_NAMES: Final = ("import", "bulk", "update", "remove", "read", "connector", "device")
"""The names of the plans in plans.py, in order."""

READ_WRITE: Final = "DeviceManagementConfiguration.ReadWrite.All"
READ_USERS: Final = "User.Read.All"
RIGHTS: Final = (READ_WRITE, READ_USERS)
"""The rights that an import tool is documented to need (sources.md#record-permissions)."""
