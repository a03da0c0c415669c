"""`make bench-rules`: what becomes of the alerts of rule sets that people have."""
