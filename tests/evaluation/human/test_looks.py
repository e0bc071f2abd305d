"""Pictures, sounds and clips of unlike systems are brought to one form before anybody sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miaobi import modalities
from miaobi.evaluation.human import rate
from miaobi.evaluation.human.looks import alike
from miaobi.evaluation.human.sources import Candidates
from miaobi.modalities._waveform import Sound
from tests.evaluation.clips import drifting
from tests.evaluation.human.studies import SECRET


def candidates(system: str, name: str, items: list[Any], **options: Any) -> Candidates:
    modality = modalities.create({"name": name, **options})
    return Candidates(system, system, modality, items, [""] * len(items))


def test_neither_sides_nor_colours_say_who_made_a_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, shape in ((SECRET, (32, 40)), ("held-out", (36, 38, 3))):
        (tmp_path / name).mkdir()
        for number in range(40):
            Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(tmp_path / name / f"{number}.png")
    study = rate([tmp_path / SECRET], task="real", n=3, real=tmp_path / "held-out", out=tmp_path / "study")
    looks = set()
    for path in study.media.iterdir():
        with Image.open(path) as picture:
            looks.add((picture.size, picture.mode, path.stat().st_size))
    assert {(size, mode) for size, mode, _ in looks} == {((38, 32), "RGB")}
    assert len(looks) == 1, "and so files have one size"
    assert study.design.looks == "38 x 32 pixels, colour"
    assert len({piece.length for piece in study.pieces.values() if piece.file}) == 1


@pytest.mark.parametrize(
    ("channels", "expected"), [((1, 1), "grey"), ((1, 4), "colour"), ((3, 4), "colour"), ((1, 3), "colour")]
)
def test_pictures_are_grey_only_where_all_are(channels: tuple[int, int], expected: str) -> None:
    found = [candidates(str(n), "image", [np.full((8, 8, count), 200, np.uint8)]) for n, count in enumerate(channels)]
    made, looks = alike(found)
    assert {one.items[0].shape for one in made} == {(8, 8, 1 if expected == "grey" else 3)}
    assert looks == f"8 x 8 pixels, {expected}"


def test_sounds_have_the_lowest_rate(tmp_path: Path) -> None:
    found = []
    for rate_ in (8000, 44_100):
        tone = np.sin(2 * np.pi * 440 * np.arange(rate_) / rate_).astype(np.float32) / 2
        found.append(candidates(str(rate_), "speech", [Sound.of(tone, rate_)]))
    made, looks = alike(found)
    low, high = (one.items[0] for one in made)
    assert (low.rate, high.rate, looks) == (8000, 8000, "8,000 Hz, one channel")
    assert low is found[0].items[0], "nothing is done where nothing has to be"
    assert high.seconds == pytest.approx(1, abs=0.01)
    assert np.abs(high.floats[200:-200] - low.floats[200 : len(high.samples) - 200]).max() < 0.01, "the same tone"


def test_clips_have_the_least_size_and_the_lowest_rate() -> None:
    fast = [np.repeat(clip, 3, axis=3) for clip in drifting(2, frames=16, side=20)]
    found = [
        candidates("slow", "video", drifting(2, frames=8, side=16), rate=8),
        candidates("fast", "video", fast, rate=16),
    ]
    made, looks = alike(found)
    assert {clip.shape for one in made for clip in one.items} == {(8, 16, 16, 3)}
    assert {one.modality.config.rate for one in made} == {8}
    assert looks == "16 x 16 pixels, colour, 8 frames a second"
    same = [candidates("fast", "video", fast, rate=16), candidates("slow", "video", [fast[0][::2]], rate=8)]
    both = alike(same)[0]
    assert np.array_equal(both[0].items[0], both[1].items[0]), "every second frame"


def test_texts_are_as_they_are() -> None:
    found = [candidates("a", "text", ["one"]), candidates("b", "text", ["two"])]
    assert alike(found) == (found, "")
