"""Periodic threads, pools, cache, logging, redaction, health probes."""
