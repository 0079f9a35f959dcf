"""Files in, arrays out, and back: one module for each file format."""
