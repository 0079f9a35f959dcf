"""What people use from Python: ``import hybridseg as hs``. The names are listed in ``hybridseg/__init__.py``."""
