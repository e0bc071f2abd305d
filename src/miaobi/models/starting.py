"""Weights that a model starts from: another run's, in whole or as far as they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.families import Family, Spelling
from miaobi.modalities import Modality
from miaobi.models.model import Model
from miaobi.types import Form

_NAMED = 8
"""Names of tensors that a report lists of each kind."""


@dataclass(frozen=True, slots=True)
class Started:
    """What a model started from.

    Attributes:
        reference: as the recipe has it.
        taken: names of tensors that were copied.
        fresh: those that are the model's own, newly made.
        left: those of the other model that were not used.
        tokens: of a table of tokens: how many rows were known, and how many there are.
    """

    reference: str
    taken: tuple[str, ...]
    fresh: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    tokens: Mapping[str, tuple[int, int]] | None = None

    def __str__(self) -> str:
        known = [f"{name}: {found:,} of {rows:,} tokens" for name, (found, rows) in (self.tokens or {}).items()]
        parts = [f"{len(self.taken)} tensors taken" + (f" ({'; '.join(known)})" if known else "")]
        parts += [f"{what}: {_listed(names)}" for what, names in (("new", self.fresh), ("left", self.left)) if names]
        return f"started from {self.reference}: {', '.join(parts)}"


def take_weights(family: Family, model: Model, reference: str, modalities: Mapping[str, Modality]) -> Started:
    """Copy another model's weights into a freshly built family.

    A model of the same family, or of one that this one translates, has to have the same shape, unless its tables of
    tokens can be matched. Of another family, tensors of equal name and shape are taken. In a table of tokens (see
    `Spelling`) a row is taken from the token that is spelled alike, whatever its number is there.

    Args:
        family: what starts.
        model: what it starts from.
        reference: how the recipe calls that.
        modalities: the fitted modality of the target, under ``target``, and of each condition.

    Raises:
        Unsupported: the shape differs, or nothing fits; the first differences are named.
    """
    ours, theirs = family.state_dict(), family.weights_from(model.family)
    tables = _tables(family, model, modalities)
    translated = type(family).weights_from is not Family.weights_from
    if (translated or type(family) is type(model.family)) and not isinstance(family, Spelling):
        _require_equal(ours, theirs, reference)
    taken: list[str] = []
    tokens: dict[str, tuple[int, int]] = {}
    with torch.no_grad():
        for name in ours.keys() & theirs.keys():
            if name in tables:
                tokens |= _take_rows(name, ours[name], theirs[name], tables[name])
            elif not _has_tokens(name, family, model.family) and ours[name].shape == theirs[name].shape:
                ours[name].copy_(theirs[name])
                taken.append(name)
    taken = sorted([*taken, *tokens])
    if not taken:
        raise Unsupported(
            "nothing of the model to start from fits",
            given=f"{reference}: {_listed(sorted(theirs))}",
            allowed=_listed(sorted(ours)),
            cure="start from a model with the same network, of the same size",
        )
    fresh, left = (tuple(sorted(names.keys() - set(taken))) for names in (ours, theirs))
    return Started(reference, tuple(taken), fresh, left, tokens)


@dataclass(frozen=True, slots=True)
class _Table:
    """``rows [V]`` int64: the other model's row of each token, -1 where it has none; and how many tokens it has."""

    rows: Tensor
    size: int


def _tables(family: Family, model: Model, modalities: Mapping[str, Modality]) -> dict[str, _Table]:
    """The tables of tokens that both have, and which rows belong together."""
    if not isinstance(family, Spelling) or not isinstance(model.family, Spelling):
        return {}
    theirs = {"target": model.modality, **model.conditions}
    sides = model.family.token_tables()
    found = {}
    for name, side in family.token_tables().items():
        mine, other = modalities.get(side), theirs.get(sides.get(name, ""))
        rows = None if mine is None or other is None else matched(mine, other)
        if rows is not None and other is not None:
            found[name] = _Table(rows, other.spec.vocabulary)
    return found


def matched(ours: Modality, theirs: Modality) -> Tensor | None:
    """``[V]`` int64: for each of our tokens (or classes) theirs that is spelled alike, or -1.

    ``None`` where nothing can be said: tokens without a spelling are alike only where the modalities are.
    """
    mine, other = _spelled(ours), _spelled(theirs)
    if mine is None or other is None:
        alike = type(ours) is type(theirs) and ours.config == theirs.config and ours.spec == theirs.spec
        return torch.arange(ours.spec.vocabulary) if alike else None
    if mine == other:
        return torch.arange(len(mine))
    known = {spelling: token for token, spelling in reversed(list(enumerate(other))) if spelling}
    return torch.tensor([known.get(spelling, -1) for spelling in mine])


def _spelled(modality: Modality) -> list[bytes] | None:
    if modality.form is Form.LABEL:
        return [str(modality.decode(np.array(index))).encode() for index in range(modality.spec.vocabulary)]
    tokenizer = modality.tokenizer
    if tokenizer is None:
        return None
    spelled = [tokenizer.token_bytes(token) for token in range(tokenizer.size)]
    for name in ("unknown", "begin", "end"):
        token = getattr(tokenizer, name)
        if token is not None:
            # No text has a NUL.
            spelled[token] = b"\0" + name.encode()
    return spelled


def _take_rows(name: str, ours: Tensor, theirs: Tensor, table: _Table) -> dict[str, tuple[int, int]]:
    """Copy the rows of known tokens, and those of the special tokens behind the vocabulary; what was known."""
    own = len(table.rows)
    if ours.shape[1:] != theirs.shape[1:] or len(ours) - own != len(theirs) - table.size:
        return {}
    known = table.rows >= 0
    if not known.any():
        return {}
    ours[:own][known] = theirs[table.rows[known]]
    ours[own:] = theirs[table.size :]
    return {name: (int(known.sum()), own)}


def _has_tokens(name: str, *families: Family) -> bool:
    """Whether rows of a tensor stand for tokens, so that an equal shape says nothing."""
    return any(isinstance(one, Spelling) and name in one.token_tables() for one in families)


def _require_equal(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], reference: str) -> None:
    differing = sorted(
        name
        for name in ours.keys() | theirs.keys()
        if name not in ours or name not in theirs or ours[name].shape != theirs[name].shape
    )
    if differing:
        raise Unsupported(
            "the model to start from has another shape",
            given=f"{reference}: {len(differing)} tensors differ, the first {differing[:3]}",
            cure="use the recipe, data vocabulary and size that it was trained with",
        )


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
