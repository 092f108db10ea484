"""Finding sources in images and mosaics with a network that outlines them."""
