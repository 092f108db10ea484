"""From pixels to tensors: preprocessing, batched augmentations, views."""
