"""The cutout store: cutouts, their statistics, writing and reading."""
