"""The vocabularies of the published programs, each on the one engine."""
