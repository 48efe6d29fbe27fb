"""Builds vocabularies from word counts: counting, learning, measuring, reports. Imports no TensorFlow."""
