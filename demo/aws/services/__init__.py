"""The emulated services: the state of each, its calls, and what AWS does by itself."""
