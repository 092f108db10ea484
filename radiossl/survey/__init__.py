"""The sky: mosaics, catalogues, cutouts, simulated surveys and the cutout store. Nothing here needs torch."""
