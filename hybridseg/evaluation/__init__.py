"""Scores from one confusion matrix, and the figures that show them."""
