"""Characters → pieces: normalisation, analysers, WordPiece, the tokenizer and its loading. Imports no TensorFlow."""
