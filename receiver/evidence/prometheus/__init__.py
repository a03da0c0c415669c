"""Prometheus: its HTTP client, its answers, and conditions in PromQL."""
