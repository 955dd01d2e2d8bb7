"""Times of single convolutions."""
