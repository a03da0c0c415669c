"""The emulated AWS."""
