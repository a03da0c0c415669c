"""Trains and evaluates a model; serving never imports it."""
