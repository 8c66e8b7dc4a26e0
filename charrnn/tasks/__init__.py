"""What a model is trained to do: each task joins a model, its batches, its loss and its figures."""
