"""The run: its states, storage, views, counts, feedback and retention."""
