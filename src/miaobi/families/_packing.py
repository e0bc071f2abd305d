"""Several short sequences in a row: the same losses from fewer padded positions.

Positions see their own sequence only (Krell et al. 2021, "Efficient sequence packing without cross-contamination").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Packed:
    """What a network reads, what it is to predict, how much each counts, and which item a position is of.

    All are ``[R, W]``; ``segments`` are 0 where there is nothing.
    """

    inputs: Tensor
    targets: Tensor
    weight: Tensor
    segments: Tensor


def pack(tokens: Tensor, weight: Tensor) -> Packed:
    """Sequences ``[B, L]`` with ``weight [B, L]`` of each token's prediction, in as few rows as fit the longest.

    What follows an item's last weighted token is left out. Rows are filled with the longest that still fits
    (best fit, decreasing).
    """
    # The first token is predicted from nothing, so it does not count.
    places = torch.arange(tokens.shape[1], device=tokens.device)
    lengths = (places * (weight > 0)).amax(1)
    order = lengths.argsort(descending=True, stable=True).tolist()
    sizes = lengths.tolist()
    width = max(1, max(sizes, default=1))
    rows: list[list[int]] = []
    free: list[int] = []
    for item in order:
        if not sizes[item]:
            continue
        fitting = [row for row, room in enumerate(free) if room >= sizes[item]]
        row = min(fitting, key=lambda one: free[one]) if fitting else len(rows)
        if row == len(rows):
            rows.append([])
            free.append(width)
        rows[row].append(item)
        free[row] -= sizes[item]
    return _filled(tokens, weight, sizes, rows or [[]], width)


def _filled(tokens: Tensor, weight: Tensor, sizes: list[int], rows: list[list[int]], width: int) -> Packed:
    made = Packed(
        tokens.new_zeros(len(rows), width),
        tokens.new_zeros(len(rows), width),
        weight.new_zeros(len(rows), width),
        tokens.new_zeros(len(rows), width),
    )
    for row, items in enumerate(rows):
        start = 0
        for number, item in enumerate(items, 1):
            place, size = slice(start, start + sizes[item]), sizes[item]
            made.inputs[row, place] = tokens[item, :size]
            made.targets[row, place] = tokens[item, 1 : size + 1]
            made.weight[row, place] = weight[item, 1 : size + 1]
            made.segments[row, place] = number
            start += size
    return made
