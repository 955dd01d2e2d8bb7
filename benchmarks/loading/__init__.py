"""What the package costs before it does anything."""
