"""Compiles the training step for absent accelerators, and reports their compilers' results."""
