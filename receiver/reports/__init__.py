"""The report, its figures, and coverage."""
