"""Features of real data, kept on disk: they cost more than everything else in an evaluation and never change."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from miaobi.data.catalog import cache_folder
from miaobi.errors import CorruptFile
from miaobi.evaluation.extractors._base import Extractor
from miaobi.modalities import Item
from miaobi.models import read_tensors, write_tensors


def stored_features(extractor: Extractor, key: Any, batches: Iterable[Sequence[Item]]) -> np.ndarray:
    """``float32 [n, D]`` features of ``batches``, which are read only where nothing is stored.

    Args:
        extractor: what computes them; only a costly one's are stored.
        key: JSON-ready; says which items these are.
        batches: the items.
    """
    if not extractor.costly:
        return _compute(extractor, batches)
    text = json.dumps([extractor.hash, key], sort_keys=True)
    path = cache_folder() / "features" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"
    stored = _read(path)
    if stored is None:
        stored = _compute(extractor, batches)
        _write(stored, path)
    return stored


def _compute(extractor: Extractor, batches: Iterable[Sequence[Item]]) -> np.ndarray:
    return np.concatenate([extractor(items) for items in batches])


def _read(path: Path) -> np.ndarray | None:
    if not path.exists():
        return None
    try:
        return read_tensors(path)["features"].numpy()
    except (CorruptFile, KeyError):
        # A cache entry that was cut short is simply made again.
        return None


def _write(features: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    write_tensors({"features": torch.from_numpy(features)}, fresh)
    fresh.replace(path)
