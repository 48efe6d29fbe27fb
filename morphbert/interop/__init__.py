"""Weights ↔ the world: other programs' checkpoints, and a trained model put to use."""
