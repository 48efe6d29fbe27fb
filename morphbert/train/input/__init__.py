"""Record files → batches: finding and checking the sets, reading, masks drawn in training."""
