"""Generates the pages and schemas that derive from the code: `make reference`."""
