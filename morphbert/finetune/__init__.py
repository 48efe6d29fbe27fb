"""Weights → tasks: a pretrained encoder, a head, labelled data."""
