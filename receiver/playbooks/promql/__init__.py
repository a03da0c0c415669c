"""PromQL, read: what an expression measures, and as a disjunction of terms."""
