"""Cutting, splitting and packing labelled images."""
