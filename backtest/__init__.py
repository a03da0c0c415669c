"""What the service would have done about past alerts, by the code that serves."""
