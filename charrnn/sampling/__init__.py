"""Draws text from a model and scores text with it, in NumPy alone: torch is not imported here."""
