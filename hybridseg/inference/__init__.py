"""From a trained model to a class for every pixel of a new image."""
