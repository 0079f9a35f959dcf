"""Networks, the backbones they stand on, and the files they are kept in."""

import os

# TensorFlow tells of every processor feature and plug-in it looks for; errors still come as exceptions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
