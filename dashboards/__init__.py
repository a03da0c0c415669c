"""Grafana's dashboards, written as code; `make dashboards` writes the JSON files."""
