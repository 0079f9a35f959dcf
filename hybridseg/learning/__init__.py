"""A classifier of pixels, trained on the strokes of one image: features, fit and probabilities."""
