"""Intune over Graph: imported certificates, profiles, devices, connectors."""
