"""From a request to files: prompt, conditions and controls in, items on disk out; and walks through a latent."""

from __future__ import annotations

from miaobi.generation.chat import Chat
from miaobi.generation.latents import interpolate, reconstruct, traverse
from miaobi.generation.pipeline import Generated, generate
from miaobi.generation.recipe import generate_recipe
from miaobi.generation.streaming import stream
from miaobi.generation.templated import generate_from

__all__ = [
    "Chat",
    "Generated",
    "generate",
    "generate_from",
    "generate_recipe",
    "interpolate",
    "reconstruct",
    "stream",
    "traverse",
]
