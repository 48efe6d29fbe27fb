"""The network: configuration, encoder, heads and losses. Knows neither text nor records."""
