"""What the command offers before anything of the conformance run is loaded: names of plans, rights of a tool."""

from typing import Final

PLAN_NAMES: Final = ("import", "bulk", "update", "remove", "read", "connector", "device")
"""The plans of plans.py, in their order."""

READ_WRITE: Final = "DeviceManagementConfiguration.ReadWrite.All"
READ_USERS: Final = "User.Read.All"
RIGHTS: Final = (READ_WRITE, READ_USERS)
"""What an import tool is said to need (sources.md#record-permissions)."""
