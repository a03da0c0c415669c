"""What runs inside a machine, with the standard library alone."""
