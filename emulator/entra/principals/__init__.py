"""Who signs in: applications, Microsoft's own ones among them, and users in the state that their sign-in meets."""
