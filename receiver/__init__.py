"""The application, its wiring, its settings and its metrics."""
