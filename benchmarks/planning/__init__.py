"""Measurements of plans."""
