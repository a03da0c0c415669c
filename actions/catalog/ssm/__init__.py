"""Commands through Systems Manager."""
