"""Land cover for every pixel of coastal and river photographs."""

__version__ = "0.1.0"
