"""One incident, one message: what chats, pagers, tickets and webhooks show of correlated runs."""
