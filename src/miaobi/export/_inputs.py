"""Real inputs that an export is checked on: texts that were given, held out, or drawn from the model itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from miaobi.data import prepare
from miaobi.errors import InvalidRecipe, MiaobiError, UnreadableItem
from miaobi.evaluation.context import spaced
from miaobi.evaluation.scoring import recipe_of
from miaobi.export._source import Exportable
from miaobi.families import Sampling, require
from miaobi.models import Model
from miaobi.sampling.noise import seeds_of
from miaobi.types import Batch, Field

COUNT = 6
_LONGEST = 512
_HARD = "  Ab 春曉\n\n\té𝄞, don't 12345…\u2581"
"""Spaces, line breaks, a rare script and an accent: what tokenizers disagree on."""


@dataclass(frozen=True)
class Inputs:
    """What an export is checked on.

    Attributes:
        sequences: token ids as the network sees them, conditions included, none empty.
        texts: what the tokenizers are compared on.
        origin: where the sequences come from, in words.
    """

    sequences: list[list[int]]
    texts: list[str]
    origin: str

    def prompts(self) -> list[list[int]]:
        """The first half of each sequence."""
        return [sequence[: max(1, len(sequence) // 2)] for sequence in self.sequences]


def inputs_of(model: Model, source: Exportable, texts: Sequence[str]) -> Inputs:
    """Given texts, else held-out items of the model's own data, else the model's own samples.

    Raises:
        InvalidRecipe: more texts than are checked, or one that cannot be read.
    """
    if texts:
        return _inputs(model, source, _given(model, texts), "texts that were given")
    try:
        return _inputs(model, source, list(_held_out(model)), "held-out items")
    except MiaobiError as error:
        reason = f"samples of the model itself, for its data cannot be read again: {error.what}"
        return _inputs(model, source, _drawn(model), reason)


def _inputs(model: Model, source: Exportable, batches: Sequence[Batch], origin: str) -> Inputs:
    sequences, texts = [], [_HARD]
    for batch in batches:
        tokens = source.layout.sequence(batch)[0][0].tolist()[: min(source.limit, _LONGEST)]
        if tokens:
            sequences.append(tokens)
        texts += [str(model.modality.decode(array)) for array in _arrays(model, batch)]
    if not sequences:
        raise InvalidRecipe(
            "there is nothing to check the export on", given=origin, cure="give texts that are not empty"
        )
    return Inputs(sequences, texts, f"{len(sequences)} {origin}")


def _arrays(model: Model, batch: Batch) -> list[np.ndarray]:
    return list(model.modality.split_batch(batch.target.values, batch.target.lengths))


def _given(model: Model, texts: Sequence[str]) -> list[Batch]:
    if len(texts) > _LONGEST:
        raise InvalidRecipe("too many texts to check on", given=len(texts), allowed=f"up to {_LONGEST}")
    try:
        arrays = [model.modality.encode(model.modality.read(text)) for text in texts]
    except UnreadableItem as error:
        raise InvalidRecipe(f"a text to check on cannot be read: {error.message}") from None
    return [Batch(model.modality.collate([array])) for array in arrays]


def _held_out(model: Model) -> Iterator[Batch]:
    """One item a batch, so that no sequence is padded."""
    prepared = prepare(recipe_of(model, None), fitted=(model.modality, model.conditions))
    held = prepared.part("test")
    for row in spaced(len(held), COUNT):
        yield held.batch([row], augment=None)


@torch.no_grad()
def _drawn(model: Model) -> list[Batch]:
    family = require(model.family, Sampling, "drawing inputs to check the export on")
    drawn = family.sample({}, seeds=seeds_of(0, range(COUNT)).to(model.family.device)).to("cpu")
    arrays = model.modality.split_batch(drawn.values, drawn.lengths)
    return [Batch(Field(torch.as_tensor(array)[None])) for array in arrays]
