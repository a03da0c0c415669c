"""One step, effectively once: executor, claims and cooldowns, ledger, limits, kill switch."""
