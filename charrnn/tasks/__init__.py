"""The tasks: each joins a model, its batches, its loss and its metrics."""
