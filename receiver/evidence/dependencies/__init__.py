"""Whether what a target depends on is unwell, so that the cause is elsewhere."""
