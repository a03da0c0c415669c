"""Slack, other chats, and the assistant."""
