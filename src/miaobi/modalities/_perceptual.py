"""Near-duplicate pictures: a banded perceptual hash finds candidates, the pixels decide.

The hash takes signs of random projections (Charikar 2002, "Similarity estimation techniques from rounding algorithms")
of the lowest 8x8 cosine frequencies, each weighted by its frequency: natural pictures are 1/f, so this spreads the
different apart. Everything is a product with small matrices that depend on the picture's size alone.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

BANDS = 8
_BITS = 56
_FREQUENCIES = 8
_SIDE = 32
_ALPHA = 3
_FLAT = 0.05
_LEAST_CONTRAST = 8.0
_BLOCKS = 4
_OVERALL, _LOCAL = 2.0, 1.0
_PROJECTIONS = np.random.default_rng(0).standard_normal((BANDS * _BITS, _FREQUENCIES**2)).astype(np.float32)
_BAND = np.arange(BANDS, dtype=np.uint64) << np.uint64(_BITS)


def signature(pixels: np.ndarray) -> np.ndarray | None:
    """``uint64 [8]`` bands of ``uint8 [H, W, C]``; ``None`` for a flat picture, which has nothing to compare."""
    grey = _visible(pixels).mean(axis=2, dtype=np.float32) if pixels.shape[2] > 1 else pixels[..., 0].astype(np.float32)
    height, width = grey.shape
    features = (_cosines(height) @ grey @ _cosines(width).T * _WEIGHTS).ravel()
    if np.abs(features).max() < _FLAT:
        return None
    bits = (_PROJECTIONS @ features > 0).reshape(BANDS, _BITS)
    packed = np.zeros((BANDS, 8), dtype=np.uint8)
    packed[:, : _BITS // 8] = np.packbits(bits, axis=1)
    return packed.view("<u8")[:, 0] | _BAND


def similarity(left: np.ndarray, right: np.ndarray) -> float:
    """0 to 1: mean absolute difference against contrast, at 32x32 at most; 0.9 is where the eye sees no difference.

    A difference of a twentieth of the contrast overall, or of a tenth in the worst of 4x4 blocks, gives 0.9: noise from
    compression and scaling passes, another print on the same shirt does not. Other proportions lower it.
    """
    aspects = left.shape[0] * right.shape[1], left.shape[1] * right.shape[0]
    height = min(_SIDE, left.shape[0], right.shape[0])
    width = min(_SIDE, left.shape[1], right.shape[1])
    a, b = (_thumbnail(pixels, height, width, max(left.shape[2], right.shape[2])) for pixels in (left, right))
    contrast = max(_contrast(a), _contrast(b), _LEAST_CONTRAST)
    difference = np.abs(a - b)
    apart = max(_OVERALL * _mean(difference), _LOCAL * _worst(difference)) / contrast
    return max(0.0, 1.0 - apart) * min(aspects) / max(aspects)


def _worst(difference: np.ndarray) -> float:
    """The largest mean over a block of a 4x4 partition (fewer where there are fewer pixels)."""
    height, width, channels = difference.shape
    rows, columns = (np.arange(0, side, -(-side // _BLOCKS)) for side in (height, width))
    sums = np.add.reduceat(np.add.reduceat(difference.sum(axis=2), rows), columns, axis=1)
    areas = np.diff(rows, append=height)[:, None] * np.diff(columns, append=width)
    return float((sums / areas).max()) / channels


def _contrast(thumbnail: np.ndarray) -> float:
    values = thumbnail.reshape(-1, thumbnail.shape[2])
    return _mean(np.abs(values - values.sum(axis=0) / len(values)))


def _mean(values: np.ndarray) -> float:
    # Half the time of ndarray.mean, whose checks cost more than so few numbers.
    return float(values.sum()) / values.size


def _thumbnail(pixels: np.ndarray, height: int, width: int, channels: int) -> np.ndarray:
    values = _visible(pixels).astype(np.float32)
    if pixels.shape[0] > height:
        values = np.tensordot(_areas(pixels.shape[0], height), values, axes=(1, 0))
    if pixels.shape[1] > width:
        values = np.tensordot(_areas(pixels.shape[1], width), values, axes=(1, 1)).swapaxes(0, 1)
    if values.shape[2] == 1 and channels > 1:
        values = np.repeat(values, min(channels, _ALPHA), axis=2)
    if values.shape[2] < channels:
        values = np.concatenate([values, np.full((height, width, 1), 255, dtype=np.float32)], axis=2)
    return values


def _visible(pixels: np.ndarray) -> np.ndarray:
    """Colour times alpha, with alpha: what is transparent looks the same whatever its colour."""
    if pixels.shape[2] <= _ALPHA:
        return pixels
    values = pixels.astype(np.float32)
    values[..., :_ALPHA] *= values[..., _ALPHA:] / 255
    return values


@lru_cache(maxsize=256)
def _areas(size: int, parts: int) -> np.ndarray:
    """``[parts, size]``: the mean over each of ``parts`` equal stretches of ``size`` pixels."""
    edges = np.linspace(0, size, parts + 1)
    starts, ends = edges[:-1, None], edges[1:, None]
    pixel = np.arange(size)[None]
    overlap = np.minimum(ends, pixel + 1) - np.maximum(starts, pixel)
    return (np.maximum(overlap, 0) * parts / size).astype(np.float32)


@lru_cache(maxsize=256)
def _cosines(size: int) -> np.ndarray:
    """``[8, size]``: the mean against each of the lowest cosines; zero for those that ``size`` pixels cannot carry."""
    order = np.arange(_FREQUENCIES)[:, None]
    waves = np.cos(math.pi * order * (2 * np.arange(size)[None] + 1) / (2 * size)) / size
    return np.where(order < size, waves, 0).astype(np.float32)


def _weights() -> np.ndarray:
    order = np.arange(_FREQUENCIES)
    return np.hypot(order[:, None], order[None]).astype(np.float32)


_WEIGHTS = _weights()
