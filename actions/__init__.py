"""The base class of an action, the tables of effects, the interface to messaging."""
