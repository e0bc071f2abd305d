"""Whether a causal model of transformers computes the same here: with its own classes nobody can know beforehand.

Architectures differ in where positions come from (numbers, or the mask: ALiBi), in what they keep between steps (keys
and values, or a state) and in what they do to embeddings and logits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.pretrained._foreign import Foreign

_LENGTHS = (6, 3)
_FED = 2
"""Tokens of each row that are read at once; the rest come one by one."""
_TOLERANCE = 1e-3
"""Of logits, as a share of their largest."""


def require_decodable(model: Any, given: str, context: int | None = None) -> None:
    """Refuse a model whose steps in a ragged batch, or whose packed rows, give other logits than its own forward pass.

    Args:
        model: of transformers, in evaluation mode.
        given: what it is, for the error.
        context: the longest sequence that it was made for; one too short for the probe passes.

    Raises:
        Unsupported: it does, or it fails.
    """
    if context is not None and context < max(_LENGTHS):
        return
    try:
        apart = difference(model)
    except Exception as error:  # noqa: BLE001 - what a model raises that is called in another way is its own
        raise _refusal(f"it raises {type(error).__name__}: {error}", given) from None
    if not apart <= _TOLERANCE:
        raise _refusal(f"logits are {apart:.1g} of their largest apart", given)


@torch.no_grad()
def difference(model: Any) -> float:
    """How far its logits here are from its own, as a share of their largest; NaN where any is."""
    vocabulary = model.get_input_embeddings().weight.shape[0]
    rows = [(torch.arange(length) * 7 + 11) % vocabulary for length in _LENGTHS]
    expected = [model(input_ids=row[None]).logits[0] for row in rows]
    found = [*_stepped(Foreign(model), rows), *_packed(Foreign(model), rows)]
    pairs = [(one, two[-len(one) :]) for one, two in zip(found, expected * 2, strict=True)]
    return float(torch.stack([(one - two).abs().max() / two.abs().max() for one, two in pairs]).max())


def _stepped(inner: Foreign, rows: list[Tensor]) -> list[Tensor]:
    """Each row's logits ``[L, V]``, from its first ``_FED`` tokens on, of steps in one batch."""
    longest = max(map(len, rows))
    padded = torch.stack([torch.nn.functional.pad(row, (0, longest - len(row))) for row in rows])
    cache = inner.new_cache(len(rows))
    fed = torch.tensor([min(_FED + index, len(row)) for index, row in enumerate(rows)])
    logits = [inner.prefill(padded[:, : int(fed.max())], fed, cache)]
    for _ in range(longest - int(fed.min())):
        at = torch.minimum(cache.lengths, torch.tensor([len(row) - 1 for row in rows]))
        logits.append(inner.step(padded.gather(1, at[:, None])[:, 0], cache))
    stacked = torch.stack(logits, 1)
    return [one[: len(row) - int(start) + 1] for one, row, start in zip(stacked, rows, fed, strict=True)]


def _packed(inner: Foreign, rows: list[Tensor]) -> list[Tensor]:
    """Each row's logits ``[L, V]``, of all rows behind one another in one."""
    segments = torch.cat([torch.full((len(row),), index) for index, row in enumerate(rows)])
    logits = inner.logits(inner.hidden(torch.cat(rows)[None], segments[None]))[0]
    return list(logits.split([len(row) for row in rows]))


def _refusal(why: str, given: str) -> Unsupported:
    return Unsupported(
        f"models of this architecture cannot be decoded in batches here: {why}",
        given=given,
        cure="choose one whose positions are given by number, such as Llama, Qwen, GPT-2 or Gemma",
    )
