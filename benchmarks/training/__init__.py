"""Training under several settings side by side."""
