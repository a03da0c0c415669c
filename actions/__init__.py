"""The base class of an action, the tables of effects, the port to people."""
