"""Summaries: cuts are found where they are, every scene is shown, and nothing is longer than asked for."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from miaobi.errors import InvalidRecipe, RunFolderError, UnreadableItem
from miaobi.generation._shots import Shot, choose, coverage, cuts, look, stretches
from miaobi.generation.summary import summarise
from miaobi.modalities._video_writing import write_mp4

RATE = 10
COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (220, 220, 40)]


def scene(kind: int, seconds: float, height: int = 32, width: int = 48) -> np.ndarray:
    """A texture of one colour that drifts sideways: it moves, and does not cut."""
    rng = np.random.default_rng(kind)
    texture = Image.fromarray(rng.integers(0, 60, (6, 9, 3), dtype=np.uint8)).resize((width, height))
    base = np.asarray(texture).astype(int) + np.array(COLOURS[kind]) - 30
    frames = [np.roll(base, step, axis=1) for step in range(round(seconds * RATE))]
    return np.clip(np.stack(frames), 0, 255).astype(np.uint8)


def film(path: Path, *lengths: tuple[int, float]) -> Path:
    write_mp4(np.concatenate([scene(kind, seconds) for kind, seconds in lengths]), RATE, path)
    return path


def shown(path: Path) -> list[int]:
    """The nearest scene of every frame."""
    with av.open(str(path)) as container:
        means = [frame.to_ndarray(format="rgb24").mean(axis=(0, 1)) for frame in container.decode(video=0)]
    return [int(np.abs(np.array(COLOURS) - mean).sum(axis=1).argmin()) for mean in means]


def test_cuts_are_found_exactly_and_every_scene_is_in_the_summary(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", (0, 6), (1, 2), (2, 8), (3, 3))
    found = summarise(path, tmp_path / "out.mp4", seconds=5)
    assert found.cuts == pytest.approx([6, 8, 16])
    scenes = shown(found.path)
    assert sorted(set(scenes)) == [0, 1, 2, 3]
    assert scenes == sorted(scenes)
    assert len(scenes) == pytest.approx(found.seconds * RATE, abs=len(found.chosen))
    assert 3 < found.seconds <= 5
    assert found.coverage > 0.7
    assert sum(shot.seconds for shot in found.shots) == pytest.approx(19)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4", "out.mp4"] or len(list(tmp_path.iterdir())) == 2


def test_a_scene_that_returns_is_shown_once_before_others_are_left_out(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", (0, 2), (1, 2), (0, 2), (1, 2), (2, 1))
    scenes = shown(summarise(path, tmp_path / "out.mp4", seconds=2).path)
    assert {0, 1, 2} == set(scenes)


def test_a_short_video_is_taken_whole_and_the_same_again(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", (0, 2), (1, 1))
    first = summarise(path, tmp_path / "b.mp4", seconds=10)
    assert shown(first.path) == [0] * 20 + [1] * 10
    assert first.coverage == pytest.approx(1)
    assert first.seconds == pytest.approx(3)
    summarise(path, tmp_path / "c.mp4", seconds=10)
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "c.mp4").read_bytes()


def test_noise_and_motion_are_no_cuts() -> None:
    rng = np.random.default_rng(0)
    times = np.arange(40) / 10
    noise = np.stack([look(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in times])
    assert cuts(noise, times) == []
    still = np.stack([look(np.full((16, 16, 3), 90, np.uint8)) for _ in times])
    assert cuts(still, times) == []
    flipped = still.copy()
    flipped[20:] = look(np.full((16, 16, 3), 240, np.uint8))
    assert cuts(flipped, times) == [20]
    assert cuts(still[:1], times[:1]) == []


def test_long_shots_are_divided_and_the_budget_is_kept() -> None:
    times = np.arange(100) / 10
    shots = stretches([30], times, 10.0, longest=2.0)
    assert [shot.begin for shot in shots] == pytest.approx([0, 1.5, 3, 4.75, 6.5, 8.25])
    assert all(shot.seconds <= 2 for shot in shots)
    features = np.stack([look(np.full((16, 16, 3), level, np.uint8)) for level in (10, 10, 120, 120, 240, 240)])
    chosen = choose(shots, features, 5.1)
    assert {index // 2 for index in chosen} == {0, 1, 2}
    assert sum(shots[index].seconds for index in chosen) <= 5.1
    assert coverage(shots, features, chosen) == pytest.approx(1)
    assert coverage(shots, features, chosen[:1]) < 0.9
    assert choose([Shot(0, 3)], features[:1], 2) == []


def test_bad_requests_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", (0, 1))
    for seconds in (0, 1.9, 601, float("nan")):
        with pytest.raises(InvalidRecipe, match="out of range"):
            summarise(path, tmp_path / "b.mp4", seconds=seconds)
    with pytest.raises(RunFolderError, match="no folder"):
        summarise(path, tmp_path / "absent" / "b.mp4")
    with pytest.raises(RunFolderError, match="replace the video"):
        summarise(path, path)
    (tmp_path / "c.mp4").write_text("not a video")
    for bad in (tmp_path / "c.mp4", tmp_path / "none.mp4"):
        with pytest.raises(UnreadableItem):
            summarise(bad, tmp_path / "b.mp4")
    assert not (tmp_path / "b.mp4").exists()
