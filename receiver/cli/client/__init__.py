"""Commands that ask a running service over its API."""
