"""`make bench-remedies`: what each remedy costs the callers of real machines."""
