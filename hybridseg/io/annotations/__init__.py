"""Strokes and areas drawn in our page or in another tool: one module for each."""
