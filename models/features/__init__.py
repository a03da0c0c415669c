"""Turns metrics into the model's vector, in training and in service."""
