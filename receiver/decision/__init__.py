"""Decisions on alerts: snapshot, pipeline, pure function, ladder, stored plan, explanation."""
