"""Clips of a blob that drifts: real motion with a known speed, and what is wrong with it."""

from __future__ import annotations

import numpy as np

from miaobi.evaluation.metrics.motion import frozen, shuffled
from miaobi.modalities import Modality, create


def drifting(count: int, seed: int = 0, *, frames: int = 8, side: int = 16, speed: float = 1.0) -> list[np.ndarray]:
    """``uint8 [frames, side, side, 1]`` clips of a soft blob on a random straight path."""
    rng = np.random.default_rng(seed)
    grid = np.arange(side)
    made = []
    for _ in range(count):
        start, angle = rng.uniform(4, side - 4, 2), rng.uniform(0, 2 * np.pi)
        steps = speed * np.arange(frames)[:, None] * np.array([np.sin(angle), np.cos(angle)])
        centres = start + steps
        away = [(grid[:, None] - y) ** 2 + (grid[None] - x) ** 2 for y, x in centres]
        made.append((220 * np.exp(-np.stack(away) / 8)).astype(np.uint8)[..., None])
    return made


def controls(clips: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """The same clips frozen, and with their frames shuffled."""
    return {
        "frozen": [frozen(clip) for clip in clips],
        "shuffled": [shuffled(clip, 0, index) for index, clip in enumerate(clips)],
    }


def video(clips: list[np.ndarray]) -> Modality:
    """A fitted video modality."""
    modality = create({"name": "video", "frames": len(clips[0])})
    modality.fit(clips)
    return modality
