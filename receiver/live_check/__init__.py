"""`smartcloudops check --live`: what the real Prometheus, Alertmanager and AWS lack."""
