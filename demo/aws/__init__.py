"""The emulated AWS: calls over HTTP, shared state and time, faults."""
