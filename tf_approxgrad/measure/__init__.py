"""Accuracy and cost of approximate gradients, compared with the exact ones."""
