"""The synthetic coast: arrays only."""
