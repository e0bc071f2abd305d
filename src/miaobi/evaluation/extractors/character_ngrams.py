"""Hashed character n-grams as features of text: no weights, no extra, any language."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

from miaobi.evaluation.extractors._base import Extractor
from miaobi.modalities import Item
from miaobi.sampling.noise import integers, seeds_of

ORDER = 4
SIZE = 256
_BUCKETS = 1 << 18
_PLACES = 8
_SEED = 0


class CharacterNgrams(Extractor):
    """256 numbers a text, of the order of one: log counts of its n-grams of 1 to 4 characters, randomly projected.

    N-grams are hashed into 2^18 buckets (Weinberger et al. 2009, "Feature hashing for large scale multitask learning"),
    and each bucket adds to eight of 256 sums with signs that a fixed seed gives (the sparse projection of Kane and
    Nelson 2014), so that cosines are kept to about a sixteenth. Vectors have one length, and an empty text none. They
    see spelling and wording, not meaning, order beyond four characters, or how long a text is.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"text"})
    preprocessing: ClassVar[str] = (
        f"log(1 + count) of n-grams of 1 to {ORDER} characters as they are, hashed into {_BUCKETS} buckets, projected "
        f"to {SIZE} by {_PLACES} signs a bucket of seed {_SEED}, scaled to length {SIZE**0.5:g}"
    )

    def __init__(self) -> None:
        self._hash = HashingVectorizer(analyzer=ngrams, n_features=_BUCKETS, alternate_sign=False, norm=None)

    def __call__(self, items: Iterable[Item]) -> np.ndarray:
        vectors = (self._hash.transform(items).log1p() @ _projection()).toarray()
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (SIZE**0.5 * vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def ngrams(text: str) -> Iterator[str]:
    """Every run of one to four characters."""
    for order in range(1, ORDER + 1):
        for start in range(len(text) - order + 1):
            yield text[start : start + order]


@lru_cache(maxsize=1)
def _projection() -> sparse.csr_matrix:
    """Float64 ``[buckets, 256]`` with eight entries of plus or minus one a row (fewer where two fall together)."""
    seeds = seeds_of(_SEED, torch.arange(_BUCKETS))
    columns = integers(seeds, "places", SIZE, (_PLACES,)).numpy().ravel()
    signs = 1.0 - 2.0 * integers(seeds, "signs", 2, (_PLACES,)).numpy().ravel()
    rows = np.arange(_BUCKETS).repeat(_PLACES)
    return sparse.csr_matrix((signs, (rows, columns)), shape=(_BUCKETS, SIZE))
