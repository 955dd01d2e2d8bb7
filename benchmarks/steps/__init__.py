"""Times of whole training steps."""
