"""Generates the pages and schemas that follow from the code: `make reference`."""
