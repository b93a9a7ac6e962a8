"""The service's published contract: vocabulary and message formats. Pure, no I/O; all that other parties may import."""
