"""Helpers that know nothing of methods, models or TensorFlow ops."""
