"""The arrival of an alert: endpoint, payload, inbox, episodes, refetch of truncated groups."""
