"""The simulated instances and their faults."""
