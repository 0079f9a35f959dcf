"""Networks, their encoders and losses, and what a model is on disk."""

import os

# TensorFlow logs every processor feature and plug-in that it looks for; errors are still raised.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
