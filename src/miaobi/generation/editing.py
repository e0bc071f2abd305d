"""Editing a file: restoring it, filling in what a mask marks, painting it over, or continuing from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.families import Editing, Sampling, require
from miaobi.generation._gaps import Gapped, gapped
from miaobi.generation._open_gap import MARK, read_gap
from miaobi.modalities import Item, Represented, Viewed
from miaobi.models import Model
from miaobi.types import Batch, Field, Form, Samples


@dataclass(frozen=True, slots=True)
class Edit:
    """A file to edit, encoded.

    Attributes:
        target: one row, the file as the model's target; a text is ``[1, L]``.
        mask: ``[1, 1, *space]`` or ``[1, L]``, 1 where it is to be made anew; ``None``: no mask was given.
        text: of a text: what of it stays.
    """

    target: Field
    mask: Tensor | None
    text: Gapped | None = None

    def item(self, model: Model, array: np.ndarray, controls: Any) -> Item:
        """The item of a sample; what stays of a text stays letter by letter."""
        if self.text is None:
            return model.item(array, controls)
        return self.text.filled(array, model.modality.decode)


def read_edit(model: Model, edit: Path | str | None, mask: Path | str | None) -> Edit | None:
    """What ``--edit`` and ``--mask`` name; a text to fill in has its gap marked in itself (see `read_gap`).

    Raises:
        InvalidRecipe: a mask without a file to edit.
        DataError: a text that has not one gap.
        Unsupported: the model can do nothing with such a file.
        UnreadableItem: a file that the model's modality cannot read.
    """
    if edit is None:
        if mask is not None:
            raise InvalidRecipe("a mask needs a file to edit", given=str(mask), cure="give --edit FILE")
        return None
    if view_of(model) is None and not isinstance(model.family, Editing):
        raise Unsupported(
            "this model edits nothing",
            given=str(edit),
            cure="train with a condition that is a view of the target, or with the family diffusion; "
            "texts are filled in by the families masked_lm (gaps of known length) and infilling",
        )
    if isinstance(model.modality, Represented):
        raise Unsupported("only models of the data itself edit files", given=str(edit))
    if model.family.fills_any_length and model.modality.tokenizer is not None:
        if mask is not None:
            raise Unsupported(
                "a gap of any length takes no mask",
                given=str(mask),
                cure=f"mark it in the file itself: {MARK} (U+25A1)",
            )
        tokens, gap = read_gap(model.modality, Path(edit))
        return Edit(Field(tokens), gap)
    if model.modality.form is not Form.TENSOR and view_of(model) is None:
        return _text_edit(model, Path(edit), None if mask is None else Path(mask))
    target = _field(model, Path(edit))
    if mask is None:
        return Edit(target, None)
    if model.modality.form is not Form.TENSOR:
        raise Unsupported("this model takes no mask", given=str(mask), cure="leave --mask out")
    return Edit(target, (_field(model, Path(mask)).values.mean(1, keepdim=True) > 0).float())


def view_of(model: Model) -> str | None:
    """The one condition that is a view of the target, which a file to edit is given as."""
    names = [name for name, modality in model.conditions.items() if isinstance(modality, Viewed)]
    return names[0] if len(names) == 1 else None


def apply_edit(model: Model, edit: Edit, conditions: dict[str, Field], controls: Any, seeds: Tensor) -> Samples:
    """Samples that start from the file; what a mask leaves stays as it was.

    Raises:
        Unsupported: a mask that the model has no use for, or one that it needs and was not given.
    """
    rows, device = len(seeds), model.family.device
    target = edit.target.map(lambda tensor: tensor.expand(rows, *tensor.shape[1:])).to(device)
    mask = None if edit.mask is None else edit.mask.expand(rows, *edit.mask.shape[1:]).to(device)
    name = view_of(model)
    if name is None:
        if mask is None:
            if not model.family.edits_whole:
                raise Unsupported("this model fills in what a mask marks", cure="give a mask: --mask FILE")
            mask = torch.ones_like(target.values[:, :1])
        batch = Batch(target, conditions=conditions, ids=torch.arange(rows))
        return model.family.edit(batch, mask.bool(), controls=controls, seeds=seeds)  # type: ignore[operator, no-any-return]
    family = require(model.family, Sampling, "restoring a file")
    told = conditions | {name: model.conditions[name].given(target, mask)}  # type: ignore[attr-defined]
    samples: Samples = family.sample(told, controls=controls, seeds=seeds)
    if mask is None:
        return samples
    return replace(samples, values=torch.where(mask.bool(), samples.values, target.values))


def _text_edit(model: Model, edit: Path, mask: Path | None) -> Edit:
    tokenizer = model.modality.tokenizer
    if tokenizer is None:
        raise Unsupported(
            f"files of {model.modality.name} cannot be edited",
            given=str(edit),
            cure="edit tokens in Python: `model.family.edit(batch, mask, seeds=...)`",
        )
    marks = None if mask is None else model.modality.read(mask)
    text = gapped(model.modality.read(edit), marks, tokenizer, model.family.target.max_length)
    return Edit(Field(torch.from_numpy(text.tokens)[None]), torch.from_numpy(text.gaps)[None].float(), text)


def _field(model: Model, path: Path) -> Field:
    modality = model.modality
    return modality.collate([modality.encode(modality.read(path))])
