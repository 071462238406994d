"""Routes about the usage and the costs of an organisation."""
