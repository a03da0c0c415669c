"""Instances of the emulated AWS that are real: Linux kernels in user mode, and their network."""
