"""People by their identity provider: OpenID Connect for the console, JWTs for the API."""
