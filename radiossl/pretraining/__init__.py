"""Self-supervised pretraining: recipes, methods, data and the training loop."""
