"""Records as google-research/bert makes them, record for record."""
