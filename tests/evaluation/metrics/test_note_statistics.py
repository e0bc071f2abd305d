"""Features of pieces that are read by hand, densities beside scipy's and in closed form, and what each figure sees."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.stats import gaussian_kde, norm
from symusic import Note, Score, Track

from miaobi import modalities
from miaobi.errors import DataError, Unsupported
from miaobi.evaluation import Direction, score
from miaobi.evaluation.metrics._densities import densities
from miaobi.evaluation.metrics._note_features import FEATURES, notes_of, table
from miaobi.evaluation.shuffled import Shuffled
from tests.evaluation.stand_ins import Sampler, context, data, sentences, text


def piece(*voices: Sequence[tuple[float, float, int]], drums: Sequence[tuple[float, float, int]] = ()) -> Any:
    """Voices of (onset, duration, pitch), in quarters."""
    made: Any = Score(4)
    for notes in (*voices, *([drums] if drums else [])):
        track: Any = Track("", 0, notes is drums)
        for onset, duration, pitch in notes:
            track.notes.append(Note(round(onset * 4), round(duration * 4), pitch, 100))
        made.tracks.append(track)
    return made


# C and E (a third), then D and F sharp, the lower voice silent, then a fifth and a tritone against one long note.
UPPER = [(0, 1, 64), (1, 0.5, 66), (2, 2, 72)]
LOWER = [(0, 1, 60), (2, 1, 65), (3, 1, 66)]


def test_features_are_those_read_from_the_page() -> None:
    found = {name: feature.of(notes_of(piece(UPPER, LOWER))) for name, feature in FEATURES.items()}
    assert found.pop("pitch_class").tolist() == pytest.approx([2 / 6, 0, 0, 0, 1 / 6, 1 / 6, 2 / 6, *[0] * 5])
    assert found == pytest.approx(
        {
            "pitch_range": 12,
            "note_density": 6 / 4,
            "onset_gap": 1,
            "note_length": 6.5 / 6,
            # 2 and 6 above, 5 and 1 below.
            "step": 14 / 4,
            # A third, a fifth (seven semitones apart) and a tritone.
            "consonance": 2 / 3,
        }
    )


def test_a_piece_without_notes_has_no_features_and_a_lone_note_few() -> None:
    found = table([piece([]), piece([(1, 2, 60)]), piece(UPPER, drums=[(0, 1, 35)])])
    assert all(np.isnan(values[0]).all() for values in found.values())
    assert {name for name, values in found.items() if np.isnan(values[1]).any()} == {"onset_gap", "step", "consonance"}
    assert found["note_density"][1] == 0.5
    assert found["pitch_range"][2] == 8


def test_densities_are_scipys_with_one_bandwidth() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(1, 0.5, 60), rng.gamma(2, size=80)
    width = right.std() * 80**-0.2
    grid = np.linspace(-6, 14, 20_001)
    p, q = (gaussian_kde(side, bw_method=width / side.std(ddof=1))(grid) for side in (left, right))
    found = densities(left, right, 0.0)
    assert found.area == pytest.approx(np.minimum(p, q).sum() * 0.001, abs=2e-3)
    kept = q > 1e-12
    expected = (q[kept] * np.log(q[kept] / np.maximum(p[kept], 1e-12))).sum() * 0.001
    assert found.divergence == pytest.approx(expected, rel=0.03)


def test_two_normals_give_the_closed_form() -> None:
    rng = np.random.default_rng(1)
    left, right = rng.normal(0.8, 1, 200_000), rng.normal(0, 1, 200_000)
    found = densities(left, right, 0.5)
    # Smoothing adds a variance of a quarter to both.
    assert found.area == pytest.approx(2 * norm.cdf(-0.4 / 1.25**0.5), abs=5e-3)
    assert found.divergence == pytest.approx(0.8**2 / (2 * 1.25), rel=0.03)


def test_what_has_no_value_shares_only_with_what_has_none() -> None:
    nothing = np.nan
    assert densities(np.full(4, nothing), np.array([1.0, 2.0]), 0.1).area == 0
    assert densities(np.array([1, 1, 1, nothing]), np.array([1, 1, 1, nothing]), 0.1).area == pytest.approx(1)
    assert densities(np.array([1, 1, nothing, nothing]), np.ones(4), 0.1).area == pytest.approx(0.5)
    assert densities(np.zeros(5), np.ones(5), 0.01).area == pytest.approx(0, abs=1e-6)


def melody(draw: random.Random, *, low: int = 55, pace: float = 1.0) -> Any:
    """Steps of a scale over a bass that holds consonances."""
    scale, time, upper, lower = (0, 2, 4, 5, 7, 9, 11), 0.0, [], []
    place = draw.randrange(4, 10)
    for _ in range(draw.randrange(8, 20)):
        place = min(max(place + draw.choice((-2, -1, 1, 2)), 0), 14)
        length = pace * draw.choice((0.5, 1, 1, 2))
        pitch = low + 12 * (place // 7) + scale[place % 7]
        upper.append((time, length, pitch))
        lower.append((time, length, pitch - draw.choice((12, 7, 4, 9, 6))))
        time += length
    return piece(upper, lower)


def some(count: int, seed: int, **options: Any) -> list[Any]:
    draw = random.Random(seed)
    return [melody(draw, **options) for _ in range(count)]


def made_of(pool: Sequence[Any], count: int = 60, **options: Any) -> Any:
    modality = modalities.create("music")
    train, held, pool = ([modality.read(item) for item in side] for side in (some(count, 1), some(count, 2), pool))
    modality.fit([*train, *held, *pool])
    order = iter(range(10**6))
    family = Sampler(modality, pool, pick=lambda seeds: seeds.new_tensor([next(order) % len(pool) for _ in seeds]))
    return context(family, data(modality, train, held), **options)


@cache
def honest() -> tuple[Any, dict[str, Any]]:
    """A context whose samples are of the data's distribution, and its scores."""
    made = made_of(some(60, 3))
    return made, score(made, ["note_statistics"])


def test_real_pieces_are_near_their_floor_and_each_fault_lowers_its_own_figures() -> None:
    real = honest()[1]
    assert next(iter(real)) == "least_area"
    for figure, one in real.items():
        assert one.value == pytest.approx(one.floor, abs=0.25)
        assert one.interval[0] <= one.value <= one.interval[1], figure
    assert Direction(real["least_spread"].protocol["direction"]) is Direction.NEITHER

    fast = score(made_of(some(60, 3, pace=0.5)), ["note_statistics"])
    for name in ("note_density_area", "onset_gap_area", "note_length_area"):
        assert fast[name].value < 0.5 * real[name].value
    for name in ("pitch_range_area", "step_area", "consonance_area"):
        assert fast[name].value == pytest.approx(real[name].value, abs=0.25)
    assert fast["least_area"].value == min(fast[name].value for name in fast if name.endswith("_area"))


def test_one_piece_again_and_again_and_silence_are_seen() -> None:
    constant = score(made_of(some(1, 3)), ["note_statistics"])
    assert constant["least_spread"].value == 0
    assert constant["least_area"].value < 0.5
    silent = score(made_of([piece([(0, 1, 60)])]), ["note_statistics"])
    assert silent["consonance_area"].value == silent["step_area"].value == 0


def test_the_papers_distances_are_in_the_protocol() -> None:
    made, found = honest()
    ranges = [table(items)["pitch_range"][:, 0] for items in (made.generated_items, made.real_items)]
    pairs = [abs(a - b) for i, a in enumerate(ranges[1]) for b in ranges[1][:i]]
    across = [abs(a - b) for a in ranges[0] for b in ranges[1]]
    detail = found["pitch_range_area"].protocol["detail"]
    assert detail["held_out_intra_set_distance"] == pytest.approx(np.mean(pairs))
    assert detail["distance_area"] == pytest.approx(densities(np.array(across), np.array(pairs), 0.5).area)
    assert found["pitch_range_area"].protocol["samples"] == 60
    few = score(made_of(some(30, 3)), ["note_statistics"], {"note_statistics": {"most": 30}})["least_area"]
    assert (few.protocol["samples"], few.protocol["floor_samples"]) == (30, 30)


def test_shuffled_pieces_lose_their_harmony() -> None:
    made, real = honest()
    shuffled = score(Shuffled.of(made), ["note_statistics.step_area"])
    assert shuffled["step_area"].value < 0.5 * real["step_area"].value


def test_a_brief_look_and_what_is_refused() -> None:
    brief = score(made_of(some(20, 3), 20, brief=True), ["note_statistics"])
    assert all(one.floor is None and one.interval is None for one in brief.values())
    modality = modalities.create("music")
    lone = [modality.read(piece([(0, 1, 60)]))]
    modality.fit(lone)
    with pytest.raises(DataError, match="two held-out pieces"):
        score(context(Sampler(modality, lone), data(modality, lone, lone)), ["note_statistics"])
    lines = sentences(10)
    words = text(lines)
    with pytest.raises(Unsupported, match="of music"):
        score(context(Sampler(words, lines), data(words, lines, lines)), ["note_statistics"])
