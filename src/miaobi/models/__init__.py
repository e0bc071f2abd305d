"""Models: build one from a recipe, save it, load it; no training code."""

from __future__ import annotations

from miaobi.models.build import build
from miaobi.models.codec import PartCodec
from miaobi.models.folder import FORMAT, info_of, load, opened, resolve, save
from miaobi.models.model import Model
from miaobi.models.public import adopt
from miaobi.models.references import open_parts, open_start, open_supplies
from miaobi.models.weights import load_into, read_tensors, tensors_of, write_tensors

__all__ = [
    "FORMAT",
    "Model",
    "PartCodec",
    "adopt",
    "build",
    "info_of",
    "load",
    "load_into",
    "open_parts",
    "open_start",
    "open_supplies",
    "opened",
    "read_tensors",
    "resolve",
    "save",
    "tensors_of",
    "write_tensors",
]
