"""Who may call: tokens, roles, signatures, rate limit."""
