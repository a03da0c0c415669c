"""Scores the members of watched groups at an interval, before any alert."""
