"""Models: build one from a recipe, save it, load it; no training code."""

from __future__ import annotations

from miaobi.models.build import build
from miaobi.models.folder import FORMAT, Model, load, resolve, save
from miaobi.models.weights import load_into, read_tensors, tensors_of, write_tensors

__all__ = [
    "FORMAT",
    "Model",
    "build",
    "load",
    "load_into",
    "read_tensors",
    "resolve",
    "save",
    "tensors_of",
    "write_tensors",
]
