"""Real Prometheus, Alertmanager, HAProxy, PostgreSQL and Chromium on loopback."""
