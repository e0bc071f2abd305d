"""Fooling the machine judge: how small a change of pictures makes it take generated ones for real.

The adversary sees the judge's score alone: a random search over sign patterns in squares within a ball of the maximum
norm (Andriushchenko et al. 2020, "Square attack: a query-efficient black-box adversarial attack via random search").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from miaobi.sampling.noise import integers, seeds_of

Judge = Callable[[np.ndarray], np.ndarray]
"""``[n]`` of features ``[n, D]``: above nought is taken for real."""


def trained(features: np.ndarray, labels: np.ndarray, ridge: float) -> Judge:
    """Kernel ridge regression of ``labels [n]`` (1 real, -1 not) on ``features [n, D]``, for features yet unseen.

    The kernel is `gaussian` of the machine judge: standardised, as wide as the median squared distance.
    """
    wide = features.astype(np.float64)
    centre, spread = wide.mean(axis=0), np.maximum(wide.std(axis=0, ddof=1), 1e-9)
    known = (wide - centre) / spread
    width = max(float(np.sort(_squared(known, known), axis=None)[(len(known) ** 2 - 1) // 2]), 1e-9)
    weights = np.linalg.solve(np.exp(-_squared(known, known) / width) + ridge * np.eye(len(known)), labels)

    def judge(unseen: np.ndarray) -> np.ndarray:
        scaled = (unseen.astype(np.float64) - centre) / spread
        return np.asarray(np.exp(-_squared(scaled, known) / width) @ weights)

    return judge


def attacked(
    items: Sequence[np.ndarray], score: Callable[[list[np.ndarray]], np.ndarray], radius: int, queries: int, seed: int
) -> list[np.ndarray]:
    """Each item changed by at most ``radius`` levels so that ``score`` is as high as so many tries find.

    Args:
        items: ``uint8``, their last three axes height, width and channels.
        score: ``[n]`` of as many items; only ever asked of all of them at once.
        radius: in levels; 0 changes nothing.
        queries: how often the score is asked for; each item keeps its best, itself among them.
        seed: item i depends on it and on i.
    """
    best, scores = list(items), score(list(items))
    for query in range(queries if radius else 0):
        # The first square is the whole picture, the last one a pixel or little more.
        share = 1 - query / queries
        tried = [
            _square(item, now, radius, share, seed, index * queries + query)
            for index, (item, now) in enumerate(zip(items, best, strict=True))
        ]
        found = score(tried)
        best = [new if up > old else now for new, now, up, old in zip(tried, best, found, scores, strict=True)]
        scores = np.maximum(scores, found)
    return best


def noisy(items: Sequence[np.ndarray], radius: int, seed: int) -> list[np.ndarray]:
    """Each number moved by ``radius`` levels up or down at random."""
    return [
        _moved(item, 2 * integers(seeds_of(seed, [index]), "noise", 2, item.shape)[0].numpy() - 1, radius)
        for index, item in enumerate(items)
    ]


def _square(item: np.ndarray, now: np.ndarray, radius: int, share: float, seed: int, draw: int) -> np.ndarray:
    """``now`` with one square, in every frame the same, at the ball's edge: up or down a channel."""
    height, width, channels = item.shape[-3:]
    side = max(1, round(share * min(height, width)))
    seeds = seeds_of(seed, [draw])
    top, left = (
        int(integers(seeds, name, extent - side + 1)[0]) for name, extent in (("top", height), ("left", width))
    )
    signs = 2 * integers(seeds, "signs", 2, (channels,))[0].numpy() - 1
    made = now.copy()
    where = (..., slice(top, top + side), slice(left, left + side), slice(None))
    made[where] = _moved(item[where], signs, radius)
    return made


def _moved(item: np.ndarray, signs: np.ndarray, radius: int) -> np.ndarray:
    return np.clip(item.astype(np.int64) + radius * signs, 0, 255).astype(np.uint8)


def _squared(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances ``[n, m]``."""
    found = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None] - 2 * left @ right.T
    return np.asarray(np.maximum(found, 0))
