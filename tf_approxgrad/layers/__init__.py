"""Keras layers whose gradients are computed by chosen methods."""
