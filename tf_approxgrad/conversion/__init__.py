"""Turning a Keras model into one of approximate layers, and back."""
