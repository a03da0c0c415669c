"""`make demo`: the driver and its incidents."""
