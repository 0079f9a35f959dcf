"""The fully convolutional methods, files in, files out: what their commands do."""
