"""Turns raw documents into clean sentences: cleaning, duplicates, splitting. Imports no TensorFlow."""
