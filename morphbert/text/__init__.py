"""Turns characters into pieces: normalisation, analysers, WordPiece, tokenizers and their loading. Imports no
TensorFlow.
"""
