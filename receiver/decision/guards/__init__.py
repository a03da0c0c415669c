"""Reasons not to act."""
