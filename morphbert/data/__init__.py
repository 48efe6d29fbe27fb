"""Pieces → training records: documents, instances, masks, TFRecords. Imports no TensorFlow."""
