"""Is a backbone worth having: hard tests with random weights, pixels, moments and other people's networks beside it."""
