"""Entra's directory over Graph: users, groups, applications, principals, roles."""
