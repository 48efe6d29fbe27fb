"""Import and export of other programs' checkpoints, and the use of trained models."""
