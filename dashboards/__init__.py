"""Grafana's dashboards, written as code; the JSON files beside it are made by `make dashboards`."""
