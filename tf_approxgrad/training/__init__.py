"""Keras callbacks for training with approximate gradients."""
