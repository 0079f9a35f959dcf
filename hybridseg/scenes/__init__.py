"""Synthetic coast photographs with exact label maps: a landscape, a camera, a painter for each class."""
