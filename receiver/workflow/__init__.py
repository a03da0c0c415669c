"""The life of a run: dispatcher, phases, steps, preflight, endings, commands."""
