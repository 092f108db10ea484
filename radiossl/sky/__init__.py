"""Positions on the sky: angles, matches and groups."""
