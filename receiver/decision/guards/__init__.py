"""The safety argument: one file a topic, and their order on one page (order.py)."""
