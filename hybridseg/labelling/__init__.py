"""Ground truth from what a person draws, without HTTP."""
