"""Sampling: counter-based noise, token-by-token decoding, and what shapes a draw."""
