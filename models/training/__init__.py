"""Making and judging a model; serving never imports it."""
