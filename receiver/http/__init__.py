"""Middleware, problems, connections, server options."""
