"""Followers of the audit log: tail, signed heads, configuration events, CloudTrail check."""
