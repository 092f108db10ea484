"""Random forests on catalogue columns and features."""
