"""Learning from labelled tiles and images."""
