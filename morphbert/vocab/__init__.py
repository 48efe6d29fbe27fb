"""Words counted → a vocabulary: counting, learning, measuring, reports. Imports no TensorFlow."""
