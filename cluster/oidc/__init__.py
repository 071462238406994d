"""Tokens of an OpenID Connect issuer, which requests may carry in place of an API key."""
