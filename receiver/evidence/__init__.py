"""What is true now: Prometheus client, queries, prefetch, AWS state, model server, PromQL re-check."""
