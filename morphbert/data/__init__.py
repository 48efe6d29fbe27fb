"""Makes training records from pieces: documents, instances, masks, TFRecords. Imports no TensorFlow."""
