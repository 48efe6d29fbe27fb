"""Minimal pairs of Korean sentences, made from any text with Mecab; no TensorFlow."""
