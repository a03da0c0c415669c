"""The life of a run: dispatcher, phases, steps, preflight, rollback, people's commands, retention."""
