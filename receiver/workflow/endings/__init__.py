"""The end of a run: its rollback, its escalation, and the record that closes it."""
