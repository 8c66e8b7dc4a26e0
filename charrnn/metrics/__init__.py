"""Figures that know no model: n-grams and other baselines, lengths, labels, numbers, sequences."""
