"""What to do: snapshot, pipeline, the pure decision, ladder, stored plan, explanation."""
