"""What calls the machines: the load generator, the balancer before them, and its targets."""
