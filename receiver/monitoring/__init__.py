"""How Prometheus and Alertmanager are reached."""
