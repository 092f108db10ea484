"""Is a backbone worth having? Hard tests, beside random weights, pixels, moments and other people's networks."""
