"""From a request to files: prompt, conditions and controls in, items on disk out; and walks through a latent."""

from __future__ import annotations

from miaobi.generation.chat import Chat
from miaobi.generation.latents import interpolate, reconstruct, traverse
from miaobi.generation.pipeline import Generated, generate
from miaobi.generation.streaming import stream

__all__ = ["Chat", "Generated", "generate", "interpolate", "reconstruct", "stream", "traverse"]
