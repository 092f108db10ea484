"""Backbones, and the format in which they are released."""
