"""Gradients → movements of the weights: optimizers, learning-rate schedules, loss scale."""
