"""Actions on instances."""
