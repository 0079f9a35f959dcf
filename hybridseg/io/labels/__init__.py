"""Label maps: one module for each file format, and `formats`, the one list of them."""
