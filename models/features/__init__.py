"""From metrics to a vector, in training and in service."""
