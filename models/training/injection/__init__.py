"""Makes training data of recorded machines: faults, look-alikes, siblings, and what they lack."""
