"""HTML pages that need no network: a run, a fine-tuned model, vocabularies. Values come in, templates show them."""
