"""Queries over many runs: lists, searches, counts, groups."""
