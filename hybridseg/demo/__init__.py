"""Synthetic scenes, and the demonstrations that run on them."""
