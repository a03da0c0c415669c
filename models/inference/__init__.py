"""Turns a vector into a verdict."""
