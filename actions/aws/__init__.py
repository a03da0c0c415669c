"""Clients, inventory, context and errors of AWS."""
