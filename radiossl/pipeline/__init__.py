"""A whole survey by one file: from mosaics to one page, with settings proposed from the data."""
