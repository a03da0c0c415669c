"""Clients, instances, groups, context and errors of AWS."""
