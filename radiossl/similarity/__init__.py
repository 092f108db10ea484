"""Similarity search: cutouts that look like a query."""
