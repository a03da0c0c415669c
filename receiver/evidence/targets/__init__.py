"""Which instance or group an alert is about: the mapping of labels, and its lookup in AWS."""
