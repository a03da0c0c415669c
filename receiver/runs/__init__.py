"""The run: its states, storage, views, counts and feedback."""
