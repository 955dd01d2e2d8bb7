"""The Keras layers whose gradients are made by methods."""
