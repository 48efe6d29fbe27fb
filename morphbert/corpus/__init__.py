"""Raw documents → clean sentences: cleaning, duplicates, splitting. Imports no TensorFlow."""
