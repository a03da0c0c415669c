"""Notifications, pages and silences."""
