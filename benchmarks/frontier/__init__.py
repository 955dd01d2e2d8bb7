"""Accuracy against speed, over many settings and seeds."""
