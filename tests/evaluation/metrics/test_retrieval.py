"""Retrieval against models whose share of right captions is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from miaobi.errors import Diverged, InvalidRecipe, Unsupported
from miaobi.evaluation import Direction, held_out, score
from miaobi.evaluation.metrics.retrieval import _Embedded, _keys, _right
from miaobi.evaluation.records import Score
from miaobi.modalities import Modality
from miaobi.sampling.noise import noise, seeds_of
from miaobi.types import Batch, Field, Form, Spec
from tests.evaluation.stand_ins import Data, Rows, Sampler, context, data, digits, image

WIDTH = 64


class Captioned(Rows):
    """Rows whose caption is ``kinds[row]``, absent where it is -1."""

    kinds: Tensor

    def batch(self, rows: list[int], *, augment: object = None) -> Batch:  # type: ignore[override]
        made = super().batch(rows)
        kinds = self.kinds[list(rows)]
        return Batch(made.target, {"kind": Field(kinds.clamp(min=0), present=kinds >= 0)}, ids=made.ids)


class Embedder(Sampler):
    """Captions are fixed random vectors; a target's is its caption's in so many of a hundred cases, else another."""

    def __init__(self, modality: Modality, kinds: Tensor, right: int, *, constant: bool = False) -> None:
        super().__init__(modality, digits(1))
        self.conditions = {"kind": Spec(Form.LABEL, vocabulary=10_000)}
        self.kinds, self.right, self.constant = kinds, right, constant
        self.sides: list[str] = []

    def embed(self, batch: Batch, side: str = "target") -> Tensor:
        self.sides.append(side)
        if self.constant:
            return torch.ones(len(batch), WIDTH)
        if side == "kind":
            return _vectors(batch.conditions["kind"].values)
        rows = batch.ids - 1
        known = rows % 100 < self.right
        return torch.where(known[:, None], 3 * _vectors(self.kinds[rows]), noise(batch.ids + 7, "unknown", (WIDTH,)))


def _vectors(kinds: Tensor) -> Tensor:
    return noise(kinds + 1, "caption", (WIDTH,))


def prepared(modality: Modality, kinds: Tensor) -> Data:
    items = digits(100) * -(-len(kinds) // 100)
    made = data(modality, items[:10], items[: len(kinds)])
    made.validation = Captioned("validation", items[: len(kinds)], modality)
    made.validation.kinds = kinds
    return made


def measured(kinds: Tensor, right: int, *, constant: bool = False, **options: object) -> Score:
    modality = image(digits(100))
    family = Embedder(modality, kinds, right, constant=constant)
    return score(context(family, prepared(modality, kinds), **options), ["retrieval"])["right_caption"]


def test_a_model_that_knows_all_finds_all() -> None:
    found = measured(torch.arange(200), 100)
    assert found.value == 1
    assert found.interval is not None
    assert 0.97 < found.interval[0] < 1
    assert found.floor == pytest.approx(0.05)
    assert found.protocol["samples"] == 200
    assert found.protocol["direction"] == "higher"
    assert found.protocol["detail"]["candidates"] == 20


def test_guessing_is_right_once_in_twenty() -> None:
    count, trials = 1000, 4
    rows, right = torch.arange(count), 0
    for trial in range(trials):
        targets, captions = (
            torch.nn.functional.normalize(noise(rows, f"{side} {trial}", (WIDTH,)), dim=1) for side in "ab"
        )
        right += _right(_Embedded(targets, captions, rows), rows, seeds_of(trial, rows), 20)
    # Four standard errors.
    assert right / (count * trials) == pytest.approx(0.05, abs=0.014)


def test_knowing_half_is_half_and_the_rest_guessed() -> None:
    assert measured(torch.arange(1000), 50).value == pytest.approx(0.525, abs=0.02)


def test_a_model_that_collapsed_is_right_about_nothing() -> None:
    assert measured(torch.arange(200), 100, constant=True).value == 0


def test_only_different_captions_are_candidates() -> None:
    found = measured(torch.arange(2000) % 4, 0)
    assert found.protocol["detail"]["candidates"] == 4
    assert found.floor == pytest.approx(0.25)
    assert found.value == pytest.approx(0.25, abs=0.03)
    assert measured(torch.arange(200) % 4, 100).value == 1


def test_items_without_a_caption_are_left_out() -> None:
    kinds = torch.arange(300)
    kinds[::3] = -1
    found = measured(kinds, 100)
    assert found.protocol["samples"] == 200
    assert found.protocol["detail"]["different_captions"] == 200
    assert found.value == 1


def test_neither_the_batch_size_nor_another_run_changes_it_but_the_seed_does() -> None:
    values = {measured(torch.arange(200), 20, batch_rows=rows).value for rows in (7, 64, 200)}
    assert len(values) == 1
    assert len({measured(torch.arange(200), 20, seed=seed).value for seed in range(4)}) > 1


def test_captions_of_tokens_are_told_apart_by_their_tokens() -> None:
    field = Field(torch.tensor([[1, 2, 9], [1, 2, 0], [1, 2, 0], [2, 1, 0]]), lengths=torch.tensor([2, 2, 3, 2]))
    keys = _keys(field)
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_a_brief_look_takes_only_as_many_items() -> None:
    kinds = torch.arange(300)
    modality = image(digits(100))
    family = Embedder(modality, kinds, 100)
    figure, value, direction = held_out(family, prepared(modality, kinds), "retrieval", count=60, seed=0)  # type: ignore[arg-type]
    assert (figure, value, direction) == ("right_caption", 1.0, Direction.HIGHER)
    assert measured(kinds, 100, count=60, brief=True).protocol["samples"] == 60


def test_what_cannot_be_measured_is_refused() -> None:
    modality = image(digits(100))
    made = prepared(modality, torch.arange(40))
    with pytest.raises(Unsupported, match="Embedding"):
        score(context(Sampler(modality, digits(5)), made), ["retrieval"])
    bare = Embedder(modality, torch.arange(40), 100)
    bare.conditions = {}
    with pytest.raises(Unsupported, match="exactly one condition"):
        score(context(bare, made), ["retrieval"])
    with pytest.raises(InvalidRecipe, match="different captions"):
        measured(torch.zeros(40, dtype=torch.int64), 100)


def test_an_embedding_that_is_not_finite_is_an_error() -> None:
    modality = image(digits(100))

    class Broken(Embedder):
        def embed(self, batch: Batch, side: str = "target") -> Tensor:
            return torch.full((len(batch), WIDTH), torch.nan)

    with pytest.raises(Diverged, match="not finite"):
        score(context(Broken(modality, torch.arange(40), 100), prepared(modality, torch.arange(40))), ["retrieval"])
