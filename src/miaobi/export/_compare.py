"""How far what was written is from the network: logits, greedy tokens, and token ids of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from miaobi.errors import ExportFailed
from miaobi.export._source import Exportable

GREEDY = 64
"""Tokens that are drawn greedily from each of the prompts."""
_CURE = "please report it with the model's recipe; nothing was kept"


def room(source: Exportable, prompt: Sequence[int]) -> int:
    """How many tokens are drawn after a prompt: `GREEDY`, or as many as the network's positions allow."""
    return min(GREEDY, source.limit - len(prompt))


def compare_logits(
    source: Exportable, sequences: Sequence[list[int]], logits: Callable[[list[int]], Tensor], tolerance: float
) -> dict[str, Any]:
    """The largest difference between the network's logits and those of ``logits``, each ``[L, V]``.

    Raises:
        ExportFailed: above the tolerance.
    """
    pairs = [(source.logits(tokens), logits(tokens).float()) for tokens in sequences]
    if any(ours.shape != theirs.shape for ours, theirs in pairs):
        given = [tuple(theirs.shape) for _, theirs in pairs]
        raise ExportFailed("the export's logits have another shape than the network's", given=given, cure=_CURE)
    return within("logit", largest([(ours - theirs).abs().max() for ours, theirs in pairs]), tolerance)


def largest(values: Sequence[Tensor | float]) -> float:
    """The largest of values, not a number if one of them is none."""
    return float(torch.stack([torch.as_tensor(value, dtype=torch.float64) for value in values]).max())


def near_tie(measured: float, tolerance: float) -> float:
    """How far apart two logits may be that change places: twice what the export was found to differ by elsewhere.

    Where it was found next to nothing, the next token may differ by a little more, but never beyond the tolerance.
    """
    return 2 * min(tolerance, max(2 * measured, 1e-5))


def within(what: str, worst: float, tolerance: float) -> dict[str, Any]:
    """A largest difference as it is reported.

    Raises:
        ExportFailed: above the tolerance, or not a number.
    """
    if not worst <= tolerance:
        allowed = f"up to {tolerance:g}"
        raise ExportFailed(
            f"the export's largest {what} difference to the network is too large",
            given=worst,
            allowed=allowed,
            cure=_CURE,
        )
    return {f"largest_{what}_difference": worst, "tolerance": tolerance}


def compare_greedy(
    source: Exportable,
    prompts: Sequence[list[int]],
    drawn: Sequence[list[int]],
    allowed: float,
    never: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Whether every token that the export drew is the network's most likely one after the same tokens.

    Each is compared after the tokens that the export drew before it, so one near-tie does not end the comparison. Two
    logits whose gap is at most ``allowed`` (`near_tie`) may change places. ``never`` was not to be drawn; default: what
    the model never draws.

    Raises:
        ExportFailed: a token that no near-tie explains, or fewer tokens than asked for without an end.
    """
    never = source.suppressed if never is None else never
    gaps = torch.cat([_gaps(source, *pair, never) for pair in zip(prompts, drawn, strict=True)])
    if not bool((gaps <= allowed).all()):
        raise ExportFailed(
            "the export draws other greedy tokens than the network",
            given=f"a token {float(gaps.max()):.4g} below the most likely one",
            allowed=f"near-ties of up to {allowed:g}",
            cure=_CURE,
        )
    ties = int((gaps > 0).sum())
    return {"greedy_tokens": len(gaps), "near_ties": ties, "largest_gap": float(gaps.max()) if len(gaps) else 0.0}


def draw_greedily(source: Exportable, prompt: list[int], logits: Callable[[list[int]], Tensor]) -> list[int]:
    """The tokens that a function from a sequence to logits ``[L, V]`` draws, up to the end token."""
    drawn: list[int] = []
    while len(drawn) < room(source, prompt) and (not drawn or drawn[-1] != source.end):
        last = logits([*prompt, *drawn])[-1]
        drawn.append(int(last.masked_fill(~source.allowed, float("-inf")).argmax()))
    return drawn


def compare_texts(
    texts: Sequence[str], ours: Callable[[str], list[int]], theirs: Callable[[str], list[int]]
) -> dict[str, Any]:
    """Whether two tokenizers give the same ids.

    Raises:
        ExportFailed: one text has others.
    """
    for text in texts:
        if ours(text) != theirs(text):
            raise ExportFailed("the export's tokenizer gives other ids than the model's", given=text, cure=_CURE)
    return {"texts_with_equal_ids": len(texts)}


def require_equal(what: str, ours: object, theirs: object) -> None:
    """Refuse an export that says something else than the model.

    Raises:
        ExportFailed: they differ.
    """
    if ours != theirs:
        raise ExportFailed(f"the export has another {what}", given=theirs, allowed=repr(ours), cure=_CURE)


def _gaps(source: Exportable, prompt: list[int], drawn: list[int], never: Sequence[int]) -> Tensor:
    """How far below the best each drawn token is ``[N]``; infinite for one that may not be drawn."""
    if len(drawn) < room(source, prompt) and (not drawn or drawn[-1] != source.end):
        raise ExportFailed("the export stopped before its end token", given=f"{len(drawn)} tokens", cure=_CURE)
    if not drawn:
        return torch.zeros(0)
    logits = source.logits([*prompt, *drawn])[len(prompt) - 1 : -1]
    logits[:, list(never)] = float("-inf")
    return logits.max(-1).values - logits.gather(1, torch.tensor(drawn)[:, None])[:, 0]
