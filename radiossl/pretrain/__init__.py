"""Self-supervised pretraining: recipes, SimCLR and BYOL, the training loop."""
