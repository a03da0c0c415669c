"""Audit tail, signed heads, configuration events, comparison with CloudTrail."""
