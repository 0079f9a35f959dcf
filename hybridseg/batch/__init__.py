"""Work on many images: one job for each, run one by one or in processes."""
