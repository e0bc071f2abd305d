"""Where a video cuts, and which stretches of it stand for the whole; no training.

A cut is where the colour histogram and the coarse picture jump together, far more than around it (Boreczky and Rowe
1996, "Comparison of video shot boundary detection techniques"). Stretches are chosen by facility location under a
budget, greedily (Lin and Bilmes 2011, "A class of submodular functions for document summarization").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

BINS = 8
SIDE = 16
_LEAST_JUMP = 0.18
_TIMES_USUAL = 3.0
_AROUND = 0.5
_SHORTEST = 0.3
_STEEP = 6.0
"""A jump as large as a cut leaves a likeness of a third."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A stretch of a video: seconds from its first frame, ``begin`` inclusive and ``end`` exclusive."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """Length."""
        return self.end - self.begin


def look(frame: np.ndarray) -> np.ndarray:
    """``float32 [8 * 3 + 16 * 16 * 3]`` of ``uint8 [16, 16, 3]``: channels' histograms, summing to 1, and pixels."""
    counts = [np.bincount(frame[..., c].ravel() // (256 // BINS), minlength=BINS) for c in range(frame.shape[2])]
    histogram = np.concatenate(counts) / frame[..., 0].size / frame.shape[2]
    return np.concatenate([histogram, frame.ravel() / 255]).astype(np.float32)


def cuts(looks: np.ndarray, times: np.ndarray) -> list[int]:
    """Indices of frames that begin a new shot; the first frame is not among them.

    Args:
        looks: ``[N, D]`` of `look`.
        times: ``[N]`` seconds.
    """
    if len(looks) < 2:
        return []
    jumps = jump(looks[1:], looks[:-1])
    found: list[int] = []
    for index in np.flatnonzero(jumps > _LEAST_JUMP).tolist():
        near = np.abs(times[1:] - times[index + 1]) <= _AROUND
        near[index] = False
        usual = float(np.median(jumps[near])) if near.any() else 0.0
        apart = times[index + 1] - (times[found[-1]] if found else times[0])
        if jumps[index] > _TIMES_USUAL * usual and apart >= _SHORTEST:
            found.append(index + 1)
    return found


def jump(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """0 to 1: how different two rows of `look` are, half by colour alone and half by place."""
    split = BINS * 3
    colour = np.abs(left[..., :split] - right[..., :split]).sum(-1) / 2
    place = np.abs(left[..., split:] - right[..., split:]).mean(-1)
    return np.asarray((colour + place) / 2)


def stretches(starts: Sequence[int], times: np.ndarray, end: float, longest: float) -> list[Shot]:
    """Shots between cuts, those over ``longest`` seconds divided into equal parts."""
    edges = [float(times[0]), *(float(times[start]) for start in starts), end]
    made = []
    for begin, until in pairwise(edges):
        parts = max(1, int(np.ceil((until - begin) / longest - 1e-9)))
        inner = np.linspace(begin, until, parts + 1).tolist()
        made += [Shot(one, other) for one, other in pairwise(inner)]
    return made


def choose(shots: Sequence[Shot], features: np.ndarray, seconds: float) -> list[int]:
    """Indices, in order of time, of shots that together are nearest to all of the video within ``seconds``.

    Each step takes the shot that adds most coverage a second: the sum over shots, weighted by length, of the likeness
    to the nearest chosen one.
    """
    likeness = alike(features)
    weights = np.array([shot.seconds for shot in shots])
    covered, chosen, left = np.zeros(len(shots)), list[int](), seconds
    while True:
        gains = (np.maximum(likeness, covered[None]) - covered) @ weights / weights
        open_ = [i for i in range(len(shots)) if i not in chosen and weights[i] <= left + 1e-9]
        if not open_:
            return sorted(chosen)
        best = max(open_, key=lambda i: (gains[i], -i))
        chosen.append(best)
        covered = np.maximum(covered, likeness[best])
        left -= weights[best]


def alike(features: np.ndarray) -> np.ndarray:
    """``float32 [n, n]``, 0 to 1: likeness of every two rows; 1 of a row and itself."""
    return np.stack([np.exp(-_STEEP * jump(row, features)) for row in features])


def coverage(shots: Sequence[Shot], features: np.ndarray, chosen: Sequence[int]) -> float:
    """0 to 1: the mean likeness, weighted by length, of every shot to the nearest chosen one."""
    likeness = alike(features)[:, list(chosen)].max(axis=1)
    weights = np.array([shot.seconds for shot in shots])
    return float((likeness * weights).sum() / weights.sum())
