"""A dense conditional random field: it spreads what is known of some pixels to all, by colour and distance."""
