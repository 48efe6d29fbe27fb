"""Characters → pieces: normalisation, analysers, WordPiece, vocabularies. Imports no TensorFlow."""
