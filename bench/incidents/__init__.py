"""Fakes of the channels that show incidents, and a receiver that is killed while it calls them."""
