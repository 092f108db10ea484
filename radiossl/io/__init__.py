"""Files, parts of long work, progress and errors: what every room uses."""
