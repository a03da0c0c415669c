"""The accounts and regions that the service is for: their file, and their readers."""
