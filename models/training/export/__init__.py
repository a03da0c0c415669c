"""What training hands to serving: trees as plain arrays, and the files of a model."""
