"""What metrics share: which rows, which seeds, which conditions, and what the protocol says of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miaobi import modalities
from miaobi.errors import Diverged, InvalidRecipe, Unsupported
from miaobi.evaluation import extractors, score
from miaobi.evaluation.context import chunks, rows_of, spaced
from miaobi.sampling.noise import seeds_of
from miaobi.types import Form, Samples, Spec
from tests.evaluation.stand_ins import Data, Rows, Sampler, context, data, digits, image, sentences, text


@given(st.integers(0, 200), st.integers(1, 300))
def test_rows_are_distinct_ordered_and_spread(total: int, count: int) -> None:
    rows = spaced(total, count)
    assert len(rows) == min(total, count)
    assert rows == sorted(set(rows))
    if rows:
        gaps = np.diff([*rows, total + rows[0]])
        assert gaps.max() - gaps.min() <= 1


def test_conditions_come_from_the_held_out_rows_in_order_and_seeds_from_the_index() -> None:
    lines = sentences(40)
    modality = text(lines)
    seen: list[torch.Tensor] = []
    family = Sampler(modality, lines, pick=lambda seeds: (seen.append(seeds), seeds % 40)[1])
    found = context(family, data(modality, lines[:10], lines[10:]), count=15, seed=3, batch_rows=4)
    assert len(found.generated) == 15
    assert torch.cat(family.seen).tolist() == [row % 10 for row in spaced(30, 15)]
    assert torch.equal(torch.cat(seen), seeds_of(3, range(15)))


def test_the_test_part_falls_back_to_validation_and_says_so() -> None:
    lines = sentences(20)
    modality = text(lines)
    prepared = data(modality, lines[:10], lines[10:])
    stamp = context(Sampler(modality, lines), prepared, part="test").stamp()
    assert (stamp["split"], stamp["split_requested"]) == ("validation", "test")
    full = Data(modality, prepared.train, prepared.validation, Rows("test", lines[:3], modality))
    stamp = context(Sampler(modality, lines), full, part="test").stamp()
    assert stamp["split"] == "test"
    assert "split_requested" not in stamp


def test_more_samples_than_held_out_items_are_reduced_and_said_so() -> None:
    lines = sentences(20)
    modality = text(lines)
    found = context(Sampler(modality, lines), data(modality, lines[:5], lines[5:]), count=100)
    assert found.count == 15
    assert len(found.training_rows) == 5
    assert found.sample_stamp()["samples"] == 15
    assert found.sample_stamp()["requested"] == 100


def test_the_protocol_names_data_family_and_preprocessing() -> None:
    items = digits(20)
    modality = image(items)
    stamp = context(Sampler(modality, items), data(modality, items, items)).feature_stamp()
    assert stamp["data"] == "made-up"
    assert stamp["source"] == "memory"
    assert stamp["modality"]["name"] == "image"
    assert stamp["family"]["name"] == "stand_ins"
    assert "16x16" in stamp["preprocessing"]
    assert stamp["seed"] == 0


def test_features_are_computed_once_and_only_when_asked_for() -> None:
    items = digits(30)
    modality = image(items)
    prepared = data(modality, items[:10], items[10:])
    found = context(Sampler(modality, items), prepared)
    assert prepared.train.read == []
    assert found.features("training").shape == (10, 64)
    assert found.features("training") is found.features("training")
    assert prepared.train.read == list(range(10))


def test_a_brief_context_reads_no_training_items() -> None:
    items = digits(30)
    modality = image(items)
    prepared = data(modality, items[:10], items[10:])
    for metric in ("kernel_distance", "frechet_distance", "precision_recall"):
        found = score(context(Sampler(modality, items), prepared, brief=True), [metric])
        assert all(item.floor is None for item in found.values())
    assert prepared.train.read == []


def test_samples_that_are_not_finite_are_an_error() -> None:
    items = digits(10)
    modality = image(items)

    class Broken(Sampler):
        def sample(self, conditions, *, prefix=None, lengths=None, controls=None, seeds):
            return Samples(torch.full((len(seeds), 1, 8, 8), float("nan")))

    with pytest.raises(Diverged, match="not finite"):
        score(context(Broken(modality, items), data(modality, items, items)), ["kernel_distance"])


def test_bad_requests_are_refused() -> None:
    lines = sentences(10)
    modality = text(lines)
    family, prepared = Sampler(modality, lines), data(modality, lines, lines)
    with pytest.raises(InvalidRecipe, match="held-out part"):
        context(family, prepared, part="train")
    with pytest.raises(InvalidRecipe, match="number of samples"):
        context(family, prepared, count=0)
    with pytest.raises(InvalidRecipe, match="warmth"):
        context(family, prepared, controls={"warmth": 1})
    with pytest.raises(Unsupported, match="music has no feature extractor"):
        extractors.choose(None, modalities.create("music"))
    with pytest.raises(Unsupported, match="does not take text"):
        score(context(family, prepared, extractor="pixels"), ["kernel_distance"])


def test_large_outputs_go_in_small_batches() -> None:
    assert rows_of(Spec(Form.TOKENS, vocabulary=65, max_length=128)) == 64
    assert rows_of(Spec(Form.TOKENS, vocabulary=150_000, max_length=4096)) == 1
    assert rows_of(Spec(Form.TENSOR, channels=3, space=(512, 512))) == 21
    assert [list(part) for part in chunks(range(5), 2)] == [[0, 1], [2, 3], [4]]
