"""Every planted mistake."""

from __future__ import annotations

from tests.classics import mistakes_images, mistakes_tokens, mistakes_training

MISTAKES = [*mistakes_images.MISTAKES, *mistakes_tokens.MISTAKES, *mistakes_training.MISTAKES]
