"""Actions on load balancers."""
