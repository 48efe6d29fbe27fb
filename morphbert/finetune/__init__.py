"""Fine-tunes a pretrained encoder with a head on labelled data."""
