"""`make bench-decisions`."""
