"""One receiver before fleets of growing size, in several accounts and regions."""
