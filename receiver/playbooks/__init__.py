"""The playbook file: schema, loader, conditions, matchers, IAM scope."""
