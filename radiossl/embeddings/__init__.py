"""Weights and images make a table of features."""
