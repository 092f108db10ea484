"""People's ratings and active learning."""
