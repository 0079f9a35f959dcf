"""Method 2: fully convolutional networks, which give every pixel of an image its class at once."""
