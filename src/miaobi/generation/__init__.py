"""From a request to files: prompt, conditions and controls in; items on disk out."""

from __future__ import annotations

from miaobi.generation.pipeline import Generated, generate

__all__ = ["Generated", "generate"]
