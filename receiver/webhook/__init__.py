"""The arrival of alerts: endpoint, payload, inbox, episodes, refetch of truncated groups."""
