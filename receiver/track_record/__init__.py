"""A playbook's record: what people did instead, whether it was right, and whether it helps."""
