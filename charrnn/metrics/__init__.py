"""Metrics that do not depend on a model: n-grams and other baselines, lengths, labels, numbers, sequences."""
