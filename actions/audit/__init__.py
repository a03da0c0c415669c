"""The audit log: chain, signed heads, export, prune."""
