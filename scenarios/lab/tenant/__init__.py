"""What an administrator has in a tenant, by name: users, groups, profiles, devices, certificates, connector keys."""
