"""How the roles read exporters: node_exporter, and those of `SMARTCLOUDOPS_ROLES`."""
