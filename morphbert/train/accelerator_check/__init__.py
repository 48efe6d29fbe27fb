"""Compiles the training step for accelerators that are not there, and says what their compilers say of it."""
