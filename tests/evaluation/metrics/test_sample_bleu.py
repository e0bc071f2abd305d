"""Forward and backward BLEU: each sees the fault that the other cannot."""

from __future__ import annotations

from typing import Any

import pytest
from sacrebleu.metrics.bleu import BLEU

from miaobi.errors import Unsupported
from miaobi.evaluation import score
from miaobi.evaluation.metrics.sample_bleu import harmonic
from miaobi.evaluation.records import Score
from tests.evaluation.stand_ins import Sampler, context, data, digits, image, sentences, text

LINES = sentences(60)


def scores(pool: list[str], **options: Any) -> dict[str, Score]:
    modality = text(LINES)
    order = iter(range(10**6))
    family = Sampler(modality, pool, pick=lambda seeds: seeds.new_tensor([next(order) % len(pool) for _ in seeds]))
    return score(context(family, data(modality, LINES[:30], LINES[30:]), **options), ["sample_bleu"])


def test_each_direction_is_sacrebleu_averaged() -> None:
    found = scores(LINES[:30])
    bleu = BLEU(effective_order=True)
    forward = [bleu.sentence_score(line, LINES[30:]).score for line in LINES[:30]]
    backward = [bleu.sentence_score(line, LINES[:30]).score for line in LINES[30:]]
    assert found["forward_bleu"].value == pytest.approx(sum(forward) / 30)
    assert found["backward_bleu"].value == pytest.approx(sum(backward) / 30)


def test_the_data_itself_is_perfect_and_training_items_score_the_floor() -> None:
    assert all(one.value == pytest.approx(100) for one in scores(LINES[30:]).values())
    for one in scores(LINES[:30]).values():
        assert one.value == pytest.approx(one.floor)
        assert one.interval[0] < one.value < one.interval[1]
        assert one.protocol["samples"] == one.protocol["floor_samples"] == 30


def test_one_good_sample_again_and_again_fails_backward_only() -> None:
    collapsed, varied = scores([LINES[30]]), scores(LINES[:30])
    assert collapsed["forward_bleu"].value == pytest.approx(100)
    assert collapsed["backward_bleu"].value < varied["backward_bleu"].value
    assert collapsed["harmonic_bleu"].value < scores(LINES[30:])["harmonic_bleu"].value


def test_a_look_during_training_has_no_floor_and_the_same_value() -> None:
    brief, whole = scores(LINES[:30], brief=True), scores(LINES[:30])
    assert [one.value for one in brief.values()] == [one.value for one in whole.values()]
    assert all(one.floor is None and one.interval is None for one in brief.values())
    assert next(iter(brief)) == "harmonic_bleu"


def test_the_harmonic_mean() -> None:
    assert harmonic(20, 80) == 32
    assert harmonic(0, 50) == harmonic(0, 0) == 0


def test_pictures_are_refused() -> None:
    items = digits(20)
    modality = image(items)
    with pytest.raises(Unsupported, match="sample_bleu does not apply to image"):
        score(context(Sampler(modality, items), data(modality, items, items)), ["sample_bleu"])
