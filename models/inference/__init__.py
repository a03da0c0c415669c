"""From a vector to a verdict."""
