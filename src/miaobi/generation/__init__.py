"""From a request to files: prompt, conditions and controls in; items on disk out."""

from __future__ import annotations

from miaobi.generation.generate import Generated, generate

__all__ = ["Generated", "generate"]
