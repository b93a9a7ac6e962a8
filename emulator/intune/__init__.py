"""The Intune service behind Graph: targeting, delivery, connector and device channels."""
