"""How near approximate gradients are to the exact ones, and what they cost."""
