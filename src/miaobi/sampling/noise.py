"""Every random number of an objective or a sampler comes from here: counter-based, one seed an item.

A number depends only on (seed, stream, position), so a batch equals its items one by one, worker counts do not
matter, and nothing has to be saved to resume. The mixer is SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable
pseudorandom number generators"); normals are Box-Muller.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

Key = int | str
_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as int64
_MIX1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX2 = -7723592293110705685  # 0x94D049BB133111EB


def derive(seeds: Tensor, *keys: Key) -> Tensor:
    """New seeds ``[B]`` int64 from ``seeds [B]`` and keys; different keys give unrelated streams."""
    for key in keys:
        seeds = _mix(seeds * 3 + _number(key))
    return seeds


def derive_one(seed: int, *keys: Key) -> int:
    """`derive` for a single Python integer; without tensors, because training asks for one every micro-step."""
    for key in keys:
        seed = _mix_one(seed * 3 + _number(key))
    return _signed(seed)


def seeds_of(seed: int, indices: Tensor | Sequence[int]) -> Tensor:
    """One seed an item: ``[B]`` from a run's or request's seed and item ids or indices."""
    items = torch.as_tensor(indices, dtype=torch.int64)
    return _mix(_mix(torch.full_like(items, _signed(seed)) + _GOLDEN) ^ _mix(items * _GOLDEN))


def uniform(seeds: Tensor, stream: Key, shape: Sequence[int] = ()) -> Tensor:
    """Float32 in the open interval (0, 1), ``[B, *shape]``."""
    bits = _bits(seeds, stream, math.prod(shape))
    # The last of 2**24 values would be rounded up to 1.
    return (((bits >> 40) & 0xFFFFFF).float() + 0.5).mul_(2.0**-24).clamp_(max=1 - 2.0**-24).reshape(len(seeds), *shape)


def noise(seeds: Tensor, stream: Key, shape: Sequence[int]) -> Tensor:
    """Standard normal float32, ``[B, *shape]``."""
    count = math.prod(shape)
    half = (count + 1) // 2
    bits = _bits(seeds, stream, half)
    radius = (((bits >> 32) & 0xFFFFFFFF).double() + 0.5).mul_(2.0**-32).log_().mul_(-2.0).sqrt_()
    angle = (bits & 0xFFFFFFFF).double().mul_(2.0 * math.pi * 2.0**-32)
    pair = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1).float()
    return pair[:, :count].reshape(len(seeds), *shape)


def integers(seeds: Tensor, stream: Key, high: int, shape: Sequence[int] = ()) -> Tensor:
    """Int64 in ``[0, high)``, ``[B, *shape]``."""
    bits = _bits(seeds, stream, math.prod(shape)) & 0x7FFFFFFFFFFFFFFF
    return (bits % high).reshape(len(seeds), *shape)


def _bits(seeds: Tensor, stream: Key, count: int) -> Tensor:
    counter = torch.arange(count, device=seeds.device, dtype=torch.int64)
    return _mix(derive(seeds, stream)[:, None] + counter[None] * _GOLDEN)


def _mix(x: Tensor) -> Tensor:
    x = x + _GOLDEN
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * _MIX1
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * _MIX2
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


def _mix_one(x: int) -> int:
    x = (x + _GOLDEN) % 2**64
    x = ((x ^ (x >> 30)) * _MIX1) % 2**64
    x = ((x ^ (x >> 27)) * _MIX2) % 2**64
    return x ^ (x >> 31)


def _number(key: Key) -> int:
    if isinstance(key, str):
        return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big", signed=True)
    return _signed(key)


def _signed(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63
