"""People's settings for runs: overrides, arming, promotion and its criteria."""
