"""Messages to people, their channels, and traces."""
