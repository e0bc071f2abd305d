"""Content hashes: what makes two items equal, and an item's id."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

MOST_ID = 2**63 - 1


def content_id(*parts: bytes | None) -> int:
    """An id from 1 to 2**63 - 1 that depends on every part; ``None`` (absent) differs from empty."""
    hasher = hashlib.blake2b(digest_size=8)
    for part in parts:
        hasher.update(b"-" if part is None else b"%d:" % len(part))
        hasher.update(part or b"")
    return (int.from_bytes(hasher.digest(), "big") & MOST_ID) or 1


def combined_id(ids: Sequence[np.ndarray]) -> str:
    """A fingerprint of parts of item ids in order: the same data, prepared anywhere, gives the same."""
    hasher = hashlib.blake2b(digest_size=16)
    for part in ids:
        hasher.update(b"%d:" % len(part))
        hasher.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
    return hasher.hexdigest()
