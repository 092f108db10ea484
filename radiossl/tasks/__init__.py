"""What a table of features is good for: one module per task."""
