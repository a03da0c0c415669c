"""The life of a run: dispatcher, phases, steps, preflight, rollback, escalation, commands."""
