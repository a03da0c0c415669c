"""The pages of runs: the list, one run, and what people order there."""
