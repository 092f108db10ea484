"""Maps of features in two dimensions."""
