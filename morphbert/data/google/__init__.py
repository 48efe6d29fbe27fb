"""Makes records identical to google-research/bert's."""
