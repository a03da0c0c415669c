"""Reads AWS for decisions: what several of them ask is read once, and every failure is told."""
