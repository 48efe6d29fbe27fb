"""The commands: flags → one frozen config → one call of the package. Nothing else lives here."""
