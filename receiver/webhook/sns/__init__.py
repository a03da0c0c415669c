"""Alerts that Amazon SNS delivers: proof of the sender, subscriptions, and alarms."""
