"""Hugging Face folders in and out: names and shapes of weights, tokenizer files, model card."""
