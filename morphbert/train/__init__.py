"""Records → weights: input pipeline, optimizer, step, loop, checkpoints, evaluation."""
