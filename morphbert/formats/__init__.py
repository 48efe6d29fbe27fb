"""Files → rows and documents: every format that is read. Imports no TensorFlow."""
