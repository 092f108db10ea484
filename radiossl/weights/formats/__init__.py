"""Reading the checkpoints of other codes: their files, their names of tensors, and what their images went through."""
