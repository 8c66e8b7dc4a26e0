"""What a model is worth: its figures on held-out text, beside simpler models, and the lengths it draws."""
