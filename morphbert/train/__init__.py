"""Trains weights on records: input pipeline, optimizer, step, loop, checkpoints, evaluation."""
