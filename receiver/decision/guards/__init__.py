"""The guards: a file for each topic, and their order in order.py."""
