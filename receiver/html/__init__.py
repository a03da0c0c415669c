"""Templates and SVG plots, for the console and the report."""
