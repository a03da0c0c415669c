"""Proof from outside: reconcile with CloudTrail, IAM policy, role check."""
