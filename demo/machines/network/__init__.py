"""The switch of the machines: a port for each, with its security group, and the way to loopback."""
