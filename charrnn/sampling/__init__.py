"""Drawing text from a model and scoring text by it, in NumPy alone: no torch is imported here."""
