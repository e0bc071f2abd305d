"""Near-duplicate texts: MinHash over character 5-grams, banded.

Broder 1997, "On the resemblance and containment of documents"; banding as in Leskovec, Rajaraman and Ullman,
"Mining of massive datasets", chapter 3. With 12 bands of 8, texts of Jaccard similarity 0.9 share a band with
probability 0.999, texts of 0.5 with 0.05.
"""

from __future__ import annotations

import numpy as np

BANDS = 12
_ROWS = 8
_GRAM = 5
_STRETCH = 1024


def signature(text: str) -> np.ndarray:
    """``uint64 [12]`` bands; texts that share one are candidates."""
    grams = shingles(text)
    least = np.full(BANDS * _ROWS, np.iinfo(np.uint64).max, dtype=np.uint64)
    for start in range(0, len(grams), _STRETCH):
        hashed = grams[start : start + _STRETCH, None] * _FACTORS
        np.minimum(least, hashed.min(axis=0), out=least)
    return _mix((_mix(least).reshape(BANDS, _ROWS) * _FACTORS[:_ROWS]).sum(axis=1, dtype=np.uint64) + _BAND)


def jaccard(left: str, right: str) -> float:
    """Shared 5-grams over all 5-grams of two texts, 0 to 1."""
    a, b = np.unique(shingles(left)), np.unique(shingles(right))
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


def shingles(text: str) -> np.ndarray:
    """A 64-bit hash of each run of 5 characters, ``uint64 [max(1, len(text) - 4)]``."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    if len(codes) < _GRAM:
        codes = np.pad(codes, (0, _GRAM - len(codes)))
    count = len(codes) - _GRAM + 1
    total = codes[:count] * _PLACES[0]
    for place in range(1, _GRAM):
        total += codes[place : place + count] * _PLACES[place]
    return _mix(total)


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


# Odd multipliers are permutations of the 64-bit integers.
_FACTORS = _mix(np.arange(1, BANDS * _ROWS + 1, dtype=np.uint64) << np.uint64(32)) | np.uint64(1)
_PLACES = _mix(np.arange(1001, 1001 + _GRAM, dtype=np.uint64)) | np.uint64(1)
_BAND = _mix(np.arange(2001, 2001 + BANDS, dtype=np.uint64))
