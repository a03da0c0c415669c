"""What is true now: Prometheus and AWS clients, prefetch, model server, PromQL re-check."""
