"""The denoising error of families whose error is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from miaobi.errors import Diverged, Incomparable, Unsupported
from miaobi.evaluation import Direction, score
from miaobi.evaluation.comparability import require_comparable
from miaobi.evaluation.metrics import resolve
from miaobi.evaluation.metrics.denoising import TIMES
from miaobi.sampling.noise import uniform
from miaobi.types import Batch
from tests.evaluation.stand_ins import Sampler, context, data, digits, image, sentences, text


class Wrong(Sampler):
    """Off by the time, and by a little that hangs on the item's seed."""

    jitter = 0.0

    def denoising_error(self, batch: Batch, t: float, seeds: Tensor) -> Tensor:
        return t + self.jitter * uniform(seeds, "jitter")


def measured(family: Sampler, items: list, **options: object) -> object:  # type: ignore[type-arg]
    prepared = data(family.modality_of, items[:20], items[20:])  # type: ignore[attr-defined]
    return score(context(family, prepared, **options), ["denoising"])["denoising"]


def wrong(jitter: float = 0.0) -> tuple[Wrong, list]:  # type: ignore[type-arg]
    items = digits(50)
    modality = image(items)
    family = Wrong(modality, items)
    family.jitter, family.modality_of = jitter, modality  # type: ignore[assignment]
    return family, items


def test_it_is_the_mean_over_times_and_items() -> None:
    found = measured(*wrong())
    assert found.value == pytest.approx(sum(TIMES) / len(TIMES))
    assert found.interval == pytest.approx((found.value, found.value))
    assert found.floor is None
    assert found.protocol["samples"] == 30
    assert Direction(found.protocol["direction"]) is Direction.LOWER


def test_noise_hangs_on_the_item_and_not_on_the_batch() -> None:
    family, items = wrong(jitter=1.0)
    values = {measured(family, items, batch_rows=rows).value for rows in (1, 7, 64)}
    assert max(values) - min(values) < 1e-7
    found = measured(family, items)
    assert found.value == pytest.approx(sum(TIMES) / len(TIMES) + 0.5, abs=0.1)
    low, high = found.interval
    assert low < found.value < high
    assert measured(family, items, seed=1).value != found.value


def test_errors_of_latents_and_of_pixels_do_not_compare() -> None:
    pixels = measured(*wrong())
    latents = replace(pixels, protocol={**pixels.protocol, "representation": {"kind": "latents"}})  # type: ignore[type-var, arg-type]
    require_comparable(pixels, pixels)
    with pytest.raises(Incomparable, match="representation"):
        require_comparable(pixels, latents)


def test_a_brief_look_takes_evenly_spaced_items() -> None:
    family, items = wrong(jitter=1.0)
    brief = measured(family, items, count=10, brief=True)
    assert brief.protocol["samples"] == 10


def test_what_cannot_be_measured_is_refused() -> None:
    items = digits(30)
    modality = image(items)
    with pytest.raises(Unsupported, match="Denoises"):
        score(context(Sampler(modality, items), data(modality, items[:20], items[20:])), ["denoising"])
    family, items = wrong()
    family.denoising_error = lambda batch, t, seeds: torch.full((len(batch),), math.nan)  # type: ignore[method-assign]
    with pytest.raises(Diverged, match="not finite"):
        measured(family, items)
    lines = sentences(30)
    words = text(lines)
    with pytest.raises(Unsupported, match="does not apply to text"):
        resolve("denoising").metric().check(Wrong(words, lines), words)
