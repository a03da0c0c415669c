"""What people set ahead: overrides, arming, promotion and its criteria."""
