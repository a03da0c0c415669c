"""Middleware, authentication, tokens, rate limit, signatures, server options."""
