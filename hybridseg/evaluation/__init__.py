"""Scores of label maps against the truth, and the page that shows results."""
