"""Every action, one file each, and their registry."""
