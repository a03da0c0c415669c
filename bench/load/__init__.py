"""Load: acks, storms, growth, soak."""
