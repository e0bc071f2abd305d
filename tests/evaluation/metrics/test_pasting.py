"""Pastes of two training items are found; held-out items are not taken for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from miaobi import modalities
from miaobi.errors import Unsupported
from miaobi.evaluation import Score, score
from miaobi.evaluation.metrics import find
from miaobi.evaluation.metrics._overlap import Overlap
from tests.evaluation.stand_ins import Sampler, context, data, digits, image, sentences, text

LINES = sentences(200)
DIGITS = digits(400)


def share(pool: list[Any], items: list[Any], modality: Any) -> Score:
    order = iter(range(10**6))
    family = Sampler(modality, pool, pick=lambda seeds: seeds.new_tensor([next(order) % len(pool) for _ in seeds]))
    half = len(items) // 2
    return score(context(family, data(modality, items[:half], items[half:])), ["pasting"])["pasted_share"]


def test_halves_of_two_texts_are_pastes_and_other_texts_are_not() -> None:
    train = LINES[:100]
    pasted = [left[: len(left) // 2] + right[len(right) // 2 :] for left, right in zip(train, train[7:], strict=False)]
    assert share(pasted, LINES, text(LINES)).value > 0.9
    honest = share(LINES[100:], LINES, text(LINES))
    assert honest.value <= 0.05
    assert honest.floor is not None
    assert honest.floor <= 0.1


@pytest.mark.parametrize("axis", [0, 1])
def test_halves_of_two_images_are_pastes(axis: int) -> None:
    pairs = zip(DIGITS[:200], DIGITS[5:200], strict=False)
    pasted = [
        np.concatenate([np.split(left, 2, axis)[0], np.split(right, 2, axis)[1]], axis=axis) for left, right in pairs
    ]
    assert share(pasted, DIGITS, image(DIGITS)).value == 1
    assert share(DIGITS[200:], DIGITS, image(DIGITS)).value <= 0.05


def test_a_paste_is_of_the_nearest_and_of_what_has_most_of_the_rest() -> None:
    found = Overlap(["abcdefgh", "abcdxyzw"], 2).pasted(lambda: iter([["abcd", "fgh"], ["zzzz"]]))
    # Of 7 pairs, abcd has 3 and fgh 2 more; of the second, abcd has 3 and nothing the rest.
    assert found == pytest.approx([2 / 7, 4 / 7])


def test_sound_is_refused() -> None:
    speech = modalities.create("speech")
    family = Sampler(image(DIGITS[:9]), DIGITS[:9])
    with pytest.raises(Unsupported, match="images and token sequences"):
        find("pasting").check(family, speech)
