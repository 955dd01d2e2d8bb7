"""Conversion of Keras models to approximate layers, and back."""
