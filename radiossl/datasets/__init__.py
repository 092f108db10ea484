"""Published data sets as cutout stores and catalogues, one module for each."""
