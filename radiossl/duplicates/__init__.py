"""Duplicates: cutouts that show the same source."""
