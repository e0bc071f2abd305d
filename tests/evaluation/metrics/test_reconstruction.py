"""Reconstruction error against errors that are known, and PSNR beside scikit-image's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from miaobi.errors import Diverged, Unsupported
from miaobi.evaluation import Direction, score
from miaobi.evaluation.metrics.reconstruction import decibels
from miaobi.types import Batch, Field, Samples
from tests.evaluation.stand_ins import Sampler, context, data, digits, image, sentences, text


class Shifting(Sampler):
    """Gives every item back, ``shift`` brighter."""

    shift = 0.0

    def encode(self, batch: Batch, *, seeds: Tensor | None = None) -> Field:
        return batch.target

    def decode(self, z: Field, conditions: dict[str, Field], *, controls: Any = None, seeds: Tensor) -> Samples:
        assert len(seeds) == len(z)
        return Samples(z.values + self.shift)


def shifted(shift: float, **options: Any) -> dict[str, Any]:
    items = [np.full((4, 4, 1), 40 + i, np.uint8) for i in range(60)]
    modality = image(items)
    family = Shifting(modality, items)
    family.shift = shift
    return score(context(family, data(modality, items[:40], items[40:]), **options), ["reconstruction"])


def test_a_known_error_has_its_known_ratio() -> None:
    found = shifted(0.1)
    assert list(found) == ["psnr", "mean_squared_error"]
    assert found["mean_squared_error"].value == pytest.approx(0.01, rel=1e-4)
    assert found["psnr"].value == pytest.approx(10 * math.log10(4 / 0.01), abs=1e-3)
    assert found["psnr"].protocol["samples"] == 20
    assert Direction(found["psnr"].protocol["direction"]) is Direction.HIGHER
    assert Direction(found["mean_squared_error"].protocol["direction"]) is Direction.LOWER


def test_what_is_beyond_white_counts_as_white() -> None:
    assert shifted(50.0)["mean_squared_error"].value < 4


def test_a_perfect_reconstruction_is_finite() -> None:
    found = shifted(0.0)
    assert found["mean_squared_error"].value == 0
    assert found["psnr"].value == pytest.approx(106.02, abs=0.01)


def test_the_ratio_is_that_of_the_eight_bit_formula() -> None:
    x, y = np.random.default_rng(0).integers(0, 256, (2, 8, 8)).astype(float)
    expected = 20 * math.log10(255 / math.sqrt(((x - y) ** 2).mean()))
    assert decibels(float(((x / 127.5 - y / 127.5) ** 2).mean())) == pytest.approx(expected)


def test_the_intervals_hold_their_values_and_agree() -> None:
    class Noisy(Shifting):
        def decode(self, z: Field, conditions: dict[str, Field], *, controls: Any = None, seeds: Tensor) -> Samples:
            return Samples(z.values * (seeds % 7).float().view(-1, 1, 1, 1) / 7)

    items = digits(60)
    modality = image(items)
    found = score(context(Noisy(modality, items), data(modality, items[:20], items[20:])), ["reconstruction"])
    for figure in found.values():
        assert figure.interval is not None
        assert figure.interval[0] < figure.value < figure.interval[1]
    low, high = found["mean_squared_error"].interval or (0.0, 0.0)
    assert found["psnr"].interval == pytest.approx((decibels(high), decibels(low)))


def test_no_score_depends_on_the_batch_size_and_a_brief_one_reads_less() -> None:
    assert len({shifted(0.1, batch_rows=rows)["psnr"].value for rows in (1, 7, 64)}) == 1
    assert shifted(0.1, brief=True, count=5)["psnr"].protocol["samples"] == 5


def test_an_infinite_reconstruction_is_an_error() -> None:
    with pytest.raises(Diverged, match="not finite"):
        shifted(math.inf)


def test_a_family_without_latents_and_a_target_of_tokens_are_refused() -> None:
    items, lines = digits(10), sentences(10)
    for modality, pool, family, reason in (
        (image(items), items, Sampler, "Latent"),
        (text(lines), lines, Shifting, "does not apply to text"),
    ):
        with pytest.raises(Unsupported, match=reason):
            score(context(family(modality, pool), data(modality, pool, pool)), ["reconstruction"])


def test_gradients_are_not_followed() -> None:
    items = digits(10)
    modality = image(items)
    seen: list[bool] = []

    class Watching(Shifting):
        def encode(self, batch: Batch, *, seeds: Tensor | None = None) -> Field:
            seen.append(torch.is_grad_enabled())
            return batch.target

    score(context(Watching(modality, items), data(modality, items, items)), ["psnr"])
    assert seen == [False]
