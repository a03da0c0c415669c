"""Evidence for decisions: Prometheus and AWS reads, prefetch, model server, PromQL re-check."""
