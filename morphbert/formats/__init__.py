"""Reads files of all supported formats as rows and documents. Imports no TensorFlow."""
